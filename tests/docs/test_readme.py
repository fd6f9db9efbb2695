"""The commands of README.md do what it says, on the local service."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from local import KEYS, ROOT, Local, blocks

README = (ROOT / "README.md").read_text()
SETTINGS = ROOT / "docs/settings.md"
READ_BY_AWS_CONFIG = {"AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_KMS"}
# Where the commands that need more than the local service are tried.
ELSEWHERE = {
    "cargo local": "tests/docs/test_readme.py",
    "cargo test": ".ci/run",
    "sam build": ".ci/run",
    "sam deploy --guided": None,  # needs an AWS account
}


def sample_commands():
    """The commands for events/, in whichever document has them."""
    every = [ROOT / "README.md", ROOT / "events/README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [path.read_text() for path in every if path.exists()]
    return [block for text in texts for block in re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)]


class Readme(unittest.TestCase):
    def test_the_quick_start(self):
        """Its commands, pasted as they are, print the responses that are shown, except that the key is another."""
        section = README.split("\n## Quick start\n")[1].split("\n## ")[0]
        self.assertEqual(section.count("```bash"), README.count("```bash"))
        script, expected = "".join(blocks("README.md", "bash")), "".join(blocks("README.md", "text"))
        self.assertGreaterEqual(script.count("curl "), 8)
        (shown,) = set(re.findall(r"gaia_\w{26}_\w{26}", expected))
        with Local(sample=False) as local:
            script = script.replace("127.0.0.1:3000", local.address)
            shell = ["bash", "-euo", "pipefail", "-c", script]
            printed = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True)
            self.assertEqual(local.list(), {})
        created = printed.stdout.splitlines()[0]
        self.assertEqual(printed.stderr, "")
        self.assertEqual(printed.stdout, expected.replace(shown, created).replace(shown[:31], created[:31]))

    def test_why_the_content_type(self):
        """curl -d alone names another type, and the README shows the error that the service then returns."""
        commands = [line for block in blocks("README.md", "bash") for line in block.splitlines() if " -d " in line]
        self.assertEqual(["$JSON" in command for command in commands], [True] * 3)
        with Local(sample=False) as local:
            command = ["curl", "-sS", f"http://{local.address}{KEYS}/", "-d", '{"config": {}}']
            printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        mistake, = json.loads(printed.stdout)["detail"]
        self.assertIn(f"422 `{mistake['msg']}`", " ".join(README.split()))

    def test_cargo_local_shows_the_build(self):
        """The first one takes minutes."""
        done = subprocess.run(["cargo", "local", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=600)
        self.assertRegex(done.stdout, r"^cargo local \d")
        self.assertIn("Finished", done.stderr)

    def test_every_setting_is_in_the_table(self):
        code = (ROOT / "src/settings.rs").read_text().split("#[cfg(test)]")[0]
        read = set(re.findall(r'"([A-Z]+_[A-Z_]+|FUNCTION)"', code))
        rows = re.findall(r"^\| `([A-Z]+_[A-Z_]+|FUNCTION)` \|", SETTINGS.read_text(), flags=re.MULTILINE)
        described = set(rows) - {"AWS_LAMBDA_LOG_LEVEL"} - READ_BY_AWS_CONFIG
        self.assertEqual(read - described, set(), "not in the table")
        self.assertLessEqual(described - read, {"AWS_REGION"}, "not read")

    @unittest.skipUnless(shutil.which("cargo-lambda"), "there is no cargo-lambda")
    def test_cargo_lambda(self):
        """The emulator builds the function at the first invocation, which waits for it."""
        lines = [line for block in sample_commands() for line in block.splitlines()]
        (watch,) = [shlex.split(line) for line in lines if line.startswith("cargo lambda watch") and "ROOT_KEY=0001" in line]
        shown = [shlex.split(line) for line in lines if line.startswith("cargo lambda invoke")]
        self.assertTrue(shown)
        events = [command[command.index("--data-file") + 1] for command in shown]
        self.assertTrue(all((ROOT / event).is_file() for event in events), events)
        invoke = [part.replace(events[0], "events/http-api/list.json") for part in shown[0]]
        with Local() as local, socket.socket() as free, tempfile.TemporaryFile() as log:
            free.bind(("127.0.0.1", 0))
            port = ["--invoke-port", str(free.getsockname()[1])]
            free.close()
            watch = [part.replace("127.0.0.1:8000", local.dynamodb) for part in watch] + port
            process = subprocess.Popen(watch, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
            try:
                for _ in range(60):  # until the emulator listens
                    done = subprocess.run(invoke + port, cwd=ROOT, capture_output=True, text=True, timeout=600)
                    if done.returncode == 0:
                        break
                    time.sleep(1)
                log.seek(0)
                self.assertEqual(done.returncode, 0, done.stderr + log.read().decode())
                response = json.loads(done.stdout)
                self.assertEqual(response["statusCode"], 200, response)
                self.assertEqual({key["api_key"] for key in json.loads(response["body"])}, set(local.list()))
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()

    def test_the_other_commands_are_tested_where_they_can_be(self):
        """`gaia-keys` by tests/cli, `sam local` and the sample events by tests/sam-local.sh."""
        commands = {line for block in blocks("README.md", "sh") for line in block.splitlines()}
        self.assertEqual(commands, set(ELSEWHERE))
        for command, place in ELSEWHERE.items():
            if place:
                self.assertIn(command, (ROOT / place).read_text())
        script = (ROOT / "tests/sam-local.sh").read_text()
        events = [line for block in sample_commands() for line in block.splitlines() if line.startswith("sam local")]
        self.assertTrue(events)
        for command in events:
            self.assertIn(" ".join(command.split()[:3]), script)

    def test_its_length(self):
        self.assertLess(README.count("\n"), 200)


if __name__ == "__main__":
    unittest.main()
