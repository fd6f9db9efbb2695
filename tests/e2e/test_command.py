"""The installed command gaia-keys as an IAM user, through the deployed API. tests/cli has the rest of what it does."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import deployment

COMMAND = pathlib.Path(sys.executable).with_name("gaia-keys")
# What of the tutorial can't reach the emulator as it is: the API's URL, the example's, and SAM.
INSTEAD = """
gaia-keys() { "$COMMAND" --url "$LOCAL_URL" "$@"; }
curl() { command curl "${@/#https:\\/\\/*.amazonaws.com/$PROTECTED}"; }
sam() { aws cloudformation delete-stack --stack-name "$3"; aws cloudformation wait stack-delete-complete --stack-name "$3"; }
"""


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

    def test_the_tutorial(self):
        """Step 9 prints what is shown, except that the key is another, and after step 10 nothing is left."""
        if not shutil.which("aws"):
            print("skipped: the tutorial's part in AWS, because there is no AWS CLI")
            self.skipTest("no AWS CLI")
        emulator, templates = deployment.keys().emulator, deployment.templates
        keys = deployment.Stack("gaia-tutorial", templates.MAIN, emulator, ServiceName="tutorial", KeyDisclosure="id")
        api = deployment.Stack("gaia-tutorial-api", templates.EXAMPLE, emulator, KeysStack=keys.name)
        steps = (deployment.ROOT / "docs/tutorial.md").read_text().partition("\n### 9. ")[2]
        call, clean_up = re.findall(r"```shell\n(.*?)```", steps, re.DOTALL)
        printed = re.search(r"```text\n(.*?)```", steps, re.DOTALL)[1]
        api_id = re.search(r"//(\w+)", api.outputs["HttpApiUrl"])[1]
        environment = {"PATH": os.environ["PATH"], "COMMAND": COMMAND, "LOCAL_URL": keys.local_url()}
        environment |= {"PROTECTED": f"http://{api_id}.execute-api.localhost:{emulator.port}", "AWS_ENDPOINT_URL": emulator.url}
        environment |= {"AWS_REGION": deployment.REGION, "AWS_DEFAULT_REGION": deployment.REGION}
        environment |= dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), deployment.ADMINISTRATOR))
        shell = ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{INSTEAD}{call}exec >/dev/null\n{clean_up}"]
        done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=120)
        plain = [re.sub(r"gaia_\w{26}", "ID", text).replace('": "', '":"') for text in (done.stdout, printed)]
        self.assertEqual(*plain)
        self.assertEqual(done.returncode, 0)
        self.assertIsNone(keys.describe())
        self.assertNotIn(keys.outputs["TableName"], emulator.client("dynamodb").list_tables()["TableNames"])
        key = emulator.client("kms").describe_key(KeyId=keys.outputs["KmsKeyId"])["KeyMetadata"]
        self.assertEqual(key["KeyState"], "PendingDeletion")
