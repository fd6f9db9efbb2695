"""The commands of README.md do what it says, on the local service; so do those for the sample events."""

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

from local import ROOT, Local, blocks

README = (ROOT / "README.md").read_text()


class Readme(unittest.TestCase):
    def test_the_quick_start(self):
        """Its commands, pasted as they are, print the responses that are shown, except that the key is another."""
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

    @unittest.skipUnless(shutil.which("cargo-lambda"), "there is no cargo-lambda")
    def test_cargo_lambda(self):
        """The emulator builds the function at the first invocation, which waits for it."""
        documents = ["README.md", "events/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
        lines = [line for name in documents for block in blocks(name, r"\w*") for line in block.splitlines()]
        (watch,) = [shlex.split(line) for line in lines if line.startswith("cargo lambda watch") and "ROOT_KEY=0001" in line]
        shown = [shlex.split(line) for line in lines if line.startswith("cargo lambda invoke")]
        events = [command[command.index("--data-file") + 1] for command in shown]
        self.assertTrue(events and all((ROOT / event).is_file() for event in events), events)
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


if __name__ == "__main__":
    unittest.main()
