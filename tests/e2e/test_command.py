"""The installed command gaia-keys as an IAM user, through the deployed API."""

import os
import pathlib
import subprocess
import sys
import unittest

import deployment
from emulator import REGION

COMMAND = pathlib.Path(sys.executable).parent / "gaia-keys"


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = deployment.keys()
        manage, look, _ = deployment.documented_policies(cls.keys)
        cls.operator = deployment.user(cls.keys.emulator, "command-operator", manage)
        cls.reader = deployment.user(cls.keys.emulator, "command-reader", look)
        cls.nobody = deployment.user(cls.keys.emulator, "command-nobody")

    def run_command(self, *arguments, caller=None, stdin="", status=0):
        """What the command prints, and its errors."""
        access_key, secret = caller or self.operator
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"GAIA_KEYS_URL": self.keys.local_url(), "AWS_REGION": REGION}
        environment |= {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret}
        environment |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        command = [COMMAND, *arguments]
        process = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60)
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stdout, process.stderr

    def test_the_life_of_a_key(self):
        """tests/cli has the rest of what the command does."""
        key = self.run_command("create", "reports", "--permissions", "read")[0].strip()
        self.assertIn("user/command-operator", self.run_command("get", key[:31], "--json")[0])
        new = self.run_command("rotate", key[:31], "--grace", "7d")[0].strip()
        self.run_command("disable", new[:31])
        self.assertIn("disabled", self.run_command("verify", stdin=new, status=1)[0])
        self.run_command("delete", key[:31], "--yes")
        self.assertIn(new[:31], self.run_command("list", "--name", "reports", "--json")[0])

    def test_callers_without_the_right(self):
        for caller, command in (
            (self.reader, ("create", "reports", "--permissions", "read")),
            (self.nobody, ("list",)),
            ((self.operator[0], "another secret"), ("list",)),
        ):
            with self.subTest(command):
                printed, told = self.run_command(*command, caller=caller, status=2)
                self.assertEqual((printed, told.count("\n")), ("", 1), told)
                self.assertIn("403", told)
        self.run_command("list", caller=self.reader)


if __name__ == "__main__":
    unittest.main()
