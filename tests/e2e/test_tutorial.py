"""The end of docs/tutorial.md, which is in AWS. tests/cli runs what comes before."""

import re
import shutil
import subprocess

import deployment
from stack_command import Case, settings

# What of the tutorial can't reach the emulator as it is: the API's URL, the example's, and SAM.
INSTEAD = """
gaia-keys() { command gaia-keys --url "$LOCAL_URL" "$@"; }
curl() { command curl "${@/#https:\\/\\/*.amazonaws.com/$PROTECTED}"; }
sam() { aws cloudformation delete-stack --stack-name "$3"; aws cloudformation wait stack-delete-complete --stack-name "$3"; }
"""


class Tutorial(Case):
    def test_steps_9_and_10(self):
        """Step 9 prints what is shown, except that the key is another, and after step 10 nothing is left."""
        if not shutil.which("aws"):
            print("skipped: the tutorial's part in AWS, because there is no AWS CLI")
            self.skipTest("no AWS CLI")
        emulator, templates = deployment.keys().emulator, deployment.templates
        keys = deployment.Stack("gaia-tutorial", templates.MAIN, ServiceName="tutorial", KeyDisclosure="id")
        api = deployment.Stack("gaia-tutorial-api", templates.EXAMPLE, KeysStack=keys.name)
        steps = (deployment.ROOT / "docs/tutorial.md").read_text().partition("\n### 9. ")[2]
        call, clean_up = re.findall(r"```shell\n(.*?)```", steps, re.DOTALL)
        printed = re.search(r"```text\n(.*?)```", steps, re.DOTALL)[1]
        api_id = re.search(r"//(\w+)", api.outputs["HttpApiUrl"])[1]
        here = {"LOCAL_URL": keys.local_url(), "PROTECTED": f"http://{api_id}.execute-api.localhost:{emulator.port}"}
        environment = settings(**self.variables(keys), **here, AWS_DEFAULT_REGION=deployment.REGION)
        shell = ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{INSTEAD}{call}exec >/dev/null\n{clean_up}"]
        done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=120)
        plain = [re.sub(r"gaia_\w{26}", "ID", text).replace('": "', '":"') for text in (done.stdout, printed)]
        self.assertEqual(*plain)
        self.assertEqual(done.returncode, 0)
        self.assertIsNone(keys.describe())
        self.assertNotIn(keys.outputs["TableName"], emulator.client("dynamodb").list_tables()["TableNames"])
        key = emulator.client("kms").describe_key(KeyId=keys.outputs["KmsKeyId"])["KeyMetadata"]
        self.assertEqual(key["KeyState"], "PendingDeletion")
