"""The commands of README.md do what it says of them, on the local service."""

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

from local import KEYS, ROOT, Local

README = (ROOT / "README.md").read_text()
# Language and text of every block, in order.
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
READ_BY_AWS_CONFIG = {"AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_KMS"}
COMMANDS = [text for language, text in BLOCKS if not language]


class Readme(unittest.TestCase):
    def test_the_first_session(self):
        """Each command of the transcript answers what stands below it, but for the key that is made."""
        session, = [text for language, text in BLOCKS if language == "console"]
        steps = re.findall(r"^\$ (.+)\n((?:[^$].*\n)*)", session, flags=re.MULTILINE)
        self.assertEqual(sum(1 + answer.count("\n") for _, answer in steps), session.count("\n"), "a line without a step")
        written, = set(re.findall(r"gaia_\w{26}_\w{26}", session))
        with Local(sample=False) as local:
            made, settings = written, ""
            for command, answer in steps:
                here = [text.replace(written, made).replace(written[:31], made[:31]) for text in (command, answer)]
                command, answer = (text.replace("127.0.0.1:3000", local.address) for text in here)
                if "=" in command.split()[0]:
                    settings += command + "\n"
                    continue
                shell = ["bash", "-euc", settings + command.replace("curl", "curl -sS", 1) + "; echo"]
                printed = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True).stdout
                if '"created"' in answer:
                    made = json.loads(printed)["api_key"]
                    answer = answer.replace(written, made)
                self.assertEqual(printed, answer, command)
            self.assertEqual(local.list(), {})

    def test_why_the_content_type(self):
        """curl -d names another type unless it is told, and what the service then says stands in the documents."""
        session, = [text for language, text in BLOCKS if language == "console"]
        commands = [line[2:] for line in session.splitlines() if " -d " in line]
        header = "-H 'content-type: application/json' "
        self.assertEqual([header in command for command in commands], [True] * 3)
        with Local(sample=False) as local:
            command = commands[0].replace(header, "").replace("$KEYS", f"http://{local.address}{KEYS}")
            printed = subprocess.run(["bash", "-c", f"{command} -sS"], capture_output=True, text=True, timeout=60, check=True)
        mistake, = json.loads(printed.stdout)["detail"]
        for document in ("README.md", "docs/clients.md"):
            said = f"422 `{mistake['msg']}`"
            self.assertTrue(said in " ".join((ROOT / document).read_text().split()), f"{document}: {said}")

    def test_cargo_local_shows_the_build(self):
        """The first one takes minutes."""
        done = subprocess.run(["cargo", "local", "--version"], cwd=ROOT, capture_output=True, text=True, timeout=600)
        self.assertRegex(done.stdout, r"^cargo local \d")
        self.assertIn("Finished", done.stderr)

    def test_every_setting_stands_in_the_table(self):
        code = (ROOT / "src/settings.rs").read_text().split("#[cfg(test)]")[0]
        read = set(re.findall(r'"([A-Z]+_[A-Z_]+|FUNCTION)"', code))
        table = README[README.index("## Settings"):README.index("## Deploying")]
        told = set(re.findall(r"`([A-Z]+_[A-Z_]+|FUNCTION)`", table))
        self.assertEqual(read, told - {"AWS_LAMBDA_LOG_LEVEL"} - READ_BY_AWS_CONFIG)

    @unittest.skipUnless(shutil.which("cargo-lambda"), "there is no cargo-lambda")
    def test_cargo_lambda(self):
        """The emulator builds the function at the first invocation, which waits for it."""
        script, = [block for block in COMMANDS if block.startswith("cargo lambda watch")]
        watch, invoke = map(shlex.split, script.splitlines())
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
                answer = json.loads(done.stdout)
                self.assertEqual(answer["statusCode"], 200, answer)
                self.assertEqual({key["api_key"] for key in json.loads(answer["body"])}, set(local.list()))
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()

    def test_the_other_commands_are_tested_where_they_can_be(self):
        """`cargo local` and `cargo test` by CI itself, `gaia-keys` by tests/cli, `sam` and its events by tests/sam-local.sh."""
        commands = {line.split("#")[0].strip() for block in COMMANDS for line in block.splitlines()}
        script = (ROOT / "tests/sam-local.sh").read_text()
        for command in filter(lambda line: line.startswith("sam local"), commands):
            self.assertIn(" ".join(command.split()[:3]), script)


if __name__ == "__main__":
    unittest.main()
