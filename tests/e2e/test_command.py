"""The installed command gaia-keys as an IAM user, through the deployed API. tests/cli has the rest of what it does."""

import os
import pathlib
import subprocess
import sys
import unittest

import deployment

COMMAND = pathlib.Path(sys.executable).with_name("gaia-keys")


class Command(unittest.TestCase):
    def run_command(self, caller, *arguments, status=0, stdin=""):
        """What the command prints."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "GAIA_KEYS_URL": deployment.keys().local_url(),
            "AWS_REGION": deployment.REGION,
            "AWS_ACCESS_KEY_ID": caller[0],
            "AWS_SECRET_ACCESS_KEY": caller[1],
        }
        command = [COMMAND, *arguments]
        done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_the_life_of_a_key(self):
        keys = deployment.keys()
        manage, look, _ = deployment.documented_policies(keys)
        operator, reader = [deployment.user(keys.emulator, name, policy) for name, policy in (("operator1", manage), ("reader1", look))]
        create = ("create", "reports", "--permissions", "read")
        self.assertIn("403", self.run_command(reader, *create, status=2))
        key = self.run_command(operator, *create).strip()[:58]
        self.assertIn("user/operator1", self.run_command(reader, "get", key[:31], "--json"))
        self.run_command(operator, "disable", key[:31])
        self.assertIn("disabled", self.run_command(operator, "verify", stdin=key, status=1))
        self.run_command(operator, "delete", key[:31], "--yes")
        self.assertNotIn(key[:31], self.run_command(reader, "list", "--json"))


if __name__ == "__main__":
    unittest.main()
