"""The installed command gaia-keys with --stack, as an operator runs it against the emulator."""

import os
import pathlib
import pty
import re
import subprocess
import sys
import unittest

import deployment
from emulator import ADMINISTRATOR, REGION

COMMAND = pathlib.Path(sys.executable).parent / "gaia-keys"


class Case(unittest.TestCase):
    callers = 0

    def gaia_keys(self, keys, *arguments, status=0, stdin="", typed=None, caller=ADMINISTRATOR):
        """What it prints, and what it says. Without answers that are `typed`, commands that ask need --yes."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"GAIA_KEYS_STACK": keys.name, "GAIA_KEYS_URL": keys.local_url()}
        environment |= {"AWS_ENDPOINT_URL": keys.emulator.url, "AWS_REGION": REGION}
        environment |= {"AWS_ACCESS_KEY_ID": caller[0], "AWS_SECRET_ACCESS_KEY": caller[1]}
        environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        where = {"input": stdin}
        if typed:
            terminal, where["stdin"] = pty.openpty()
            os.write(terminal, typed.encode())
            del where["input"]
        command = [COMMAND, *arguments]
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **where)
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        self.assertNotRegex(process.stderr, "Traceback|gaia_[0-9A-Z]{26}_")
        return process.stdout, process.stderr

    def with_rights(self, keys, *commands):
        """A caller who may do what the help of these commands lists, and nothing else."""
        listed = []
        for command in commands:
            actions = self.gaia_keys(keys, *command.split(), "--help")[0].split("IAM actions:\n")[1]
            for service, names in re.findall(r"^  (\S+):(\S+(?:, \S+)*)", actions, flags=re.MULTILINE):
                listed += [f"{service}:{name}" for name in names.split(", ")]
        return self.caller(keys, ("Allow", listed))

    def caller(self, keys, *rights):
        """A user with these rights: an effect, and IAM actions."""
        Case.callers += 1
        statements = [{"Effect": effect, "Action": actions, "Resource": "*"} for effect, actions in rights]
        policy = {"Version": "2012-10-17", "Statement": statements}
        return deployment.user(keys.emulator, f"caller-{Case.callers}", policy)
