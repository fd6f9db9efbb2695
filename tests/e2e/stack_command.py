"""gaia-keys with --stack, as an operator runs it against the emulator. tests/cli has the rest of what it does."""

import re
import time

import deployment
from command import Commands, settings  # noqa: F401 (for the tests)
from emulator import ADMINISTRATOR, REGION


class Case(Commands):
    """`keys` is the stack."""

    callers = 0

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
            "COLUMNS": "80",
            "NO_COLOR": "1",
        } | more

    def sleep(self, _, sleep=time.sleep):
        sleep(0.05)  # what it waits for is done sooner than in AWS

    def gaia_keys(self, *arguments, status=0, stdin="", typed=None, **who):
        """What it prints and says. Answers are `typed` on a terminal; without one, commands that ask need --yes."""
        given = {"stdin": typed or stdin, "terminal": typed is not None}
        return "".join(self.run_command(*arguments, status=status, **given, **self.variables(**who)))

    def with_rights(self, *commands):
        """A caller who may do what the help of these commands lists, and nothing else."""
        listed = []
        for command in commands:
            actions = self.gaia_keys(*command.split(), "--help").split("IAM actions:\n")[1]
            for service, names in re.findall(r"^  (\S+):(\S+(?:, \S+)*)", actions, flags=re.MULTILINE):
                listed += [f"{service}:{name}" for name in names.split(", ")]
        return self.caller(("Allow", listed))

    def caller(self, *rights):
        """A user with these rights: an effect, and IAM actions."""
        Case.callers += 1
        statements = [{"Effect": effect, "Action": actions, "Resource": "*"} for effect, actions in rights]
        policy = {"Version": "2012-10-17", "Statement": statements}
        return deployment.user(self.keys.emulator, f"caller-{Case.callers}", policy)
