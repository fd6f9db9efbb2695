"""gaia-keys with --stack, as an operator runs it against the emulator. tests/cli has the rest of what it does."""

import functools
import re
import time
import uuid

import deployment
from command import Commands, settings  # noqa: F401 (for the tests)
from emulator import ADMINISTRATOR, REGION


class Case(Commands):
    """`keys` is the stack."""

    def variables(self, keys=None, caller=ADMINISTRATOR, **more):
        """Where the command finds the stack, and who runs it."""
        keys = keys or self.keys
        return {
            "address": keys.emulator.address,
            "auth": "sigv4",
            "GAIA_KEYS_STACK": keys.name,
            "GAIA_KEYS_URL": keys.local_url(),
            "AWS_ENDPOINT_URL": keys.emulator.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": caller[0],
            "AWS_SECRET_ACCESS_KEY": caller[1],
            "AWS_SESSION_TOKEN": "",
            "COLUMNS": "80", "NO_COLOR": "1",
        } | more

    def sleep(self, _, sleep=time.sleep):
        sleep(0.05)  # what it waits for is done sooner than in AWS

    def gaia_keys(self, *arguments, status=0, stdin="", typed=None, caller=None, **who):
        """What it prints and says. The caller has no rights but those that the command's help lists.

        Answers are `typed` on a terminal; without one, commands that ask need --yes.
        """
        where = self.variables(caller=caller or self.with_listed_rights(*arguments), **who)
        return "".join(self.run_command(*arguments, status=status, stdin=typed or stdin, terminal=typed is not None, **where))

    def with_listed_rights(self, *command):
        _, _, actions = self.run_command(*command, "--help", **self.variables())[0].partition("IAM actions:\n")
        if not actions:
            return self.with_listed_rights()
        listed = re.findall(r"^ +([a-z-]+:)(\w+(?:, \w+)*)", actions, flags=re.MULTILINE)
        rights = [service + name for service, names in listed for name in names.split(", ")]
        return self.caller(("Allow", (*rights, "lambda:ListAliases")))  # which the emulator takes GetAlias for

    @functools.cache
    def caller(self, *rights):
        """A user with these rights: an effect, and IAM actions. The same for the same rights, as some requests are repeated."""
        statements = [{"Effect": effect, "Action": actions, "Resource": "*"} for effect, actions in rights]
        policy = {"Version": "2012-10-17", "Statement": statements}
        return deployment.user(self.keys.emulator, uuid.uuid4().hex, policy)
