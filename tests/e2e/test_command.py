"""The installed command gaia-keys as an IAM user, through the deployed API. tests/cli has the rest of what it does."""

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

    def run_command(self, *arguments, caller=None, stdin="", status=0):
        """What the command prints."""
        access_key, secret = caller or self.operator
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = clean | {
            "GAIA_KEYS_URL": self.keys.local_url(),
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        done = subprocess.run([COMMAND, *arguments], env=environment, input=stdin, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_the_life_of_a_key(self):
        key = self.run_command("create", "reports", "--permissions", "read").strip()[:58]
        self.assertIn("user/command-operator", self.run_command("get", key[:31], "--json"))
        self.run_command("disable", key[:31])
        self.assertIn("disabled", self.run_command("verify", stdin=key, status=1))
        self.run_command("delete", key[:31], "--yes")
        self.assertNotIn(key[:31], self.run_command("list", "--json", caller=self.reader))

    def test_callers_without_the_right(self):
        self.assertIn("403", self.run_command("create", "reports", "--permissions", "read", caller=self.reader, status=2))


if __name__ == "__main__":
    unittest.main()
