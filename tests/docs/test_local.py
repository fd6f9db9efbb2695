"""`cargo local`: README.md's quick start, the settings that it reads, and what a terminal shows."""

import os
import pty
import re
import subprocess
import unittest

from local import KEYS, Local, blocks


class CargoLocal(unittest.TestCase):
    def test_the_quick_start(self):
        """Its commands, pasted as they are, print the responses that are shown, except that the key is another."""
        script, expected = ("".join(blocks("README.md", language)) for language in ("bash", "text"))
        with Local(sample=False) as local:
            script = "exec 2>&1\n" + script.replace("127.0.0.1:3000", local.address)
            shell = ["bash", "-euo", "pipefail", "-c", script]
            printed = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=True).stdout
            self.assertEqual(local.list(), {})
        self.assertEqual(*[re.sub(r"gaia_\w{26}", "ID", text) for text in (printed, expected)])

    def test_settings(self):
        """It reads the service's. The ones that it sets itself could each change what a request gets."""
        ignored = {"FUNCTION": "authorizer", "TABLE_NAME": "other", "ALLOW_ANONYMOUS": "false", "SIMPLE_RESPONSES": "false"}
        ignored |= {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1", "AWS_REGION": "", "AWS_CA_BUNDLE": "/nowhere"}
        with Local(sample=False, SERVICE_NAME="other", KEY_DISCLOSURE="id", **ignored) as local:
            key = local.create({"permissions": "read"})
            status, body = local.send("GET", "/demo", headers={"authorization": f"Search {key}"})
            self.assertEqual((status, body["authorizer"]["service"]), (200, "other"))
            self.assertEqual(list(local.list()), [key[:31]])
        with Local(sample=False) as local:
            self.assertEqual(local.send("POST", f"{KEYS}/verify", {"api_key": key})[1]["reason"], "invalid")
        with_kms_key = {"env": {"KMS_KEY_ID": "mrk-1"}, "capture_output": True, "text": True, "timeout": 60}
        done = subprocess.run(Local().command, **with_kms_key)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ROOT_KEY: set together with KMS_KEY_ID", done.stderr)

    def test_a_terminal_shows_a_line_per_request(self):
        """Without secrets, and without the log entries that a pipe gets."""
        reader, terminal = pty.openpty()
        local = Local()
        process = subprocess.Popen(local.command, stdout=terminal)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        local.address = re.search(r"http://([0-9.:]+)", os.read(reader, 1 << 16).decode())[1]
        key = local.create({"permissions": "read"})
        local.send("PUT", f"{KEYS}/{key}", {"config": {"permissions": "all"}})
        response = local.exchange("POST", "/demo", headers={"authorization": f"Search {key}"})
        self.assertEqual((response.status, response.headers["x-denial-reason"]), (403, "permission"))
        process.terminate()
        process.wait()
        shown = os.read(reader, 1 << 16).decode().splitlines()
        self.assertEqual(
            [re.sub(r"^[0-9:]{8} ", "", line) for line in shown if line[:2].isdigit()],
            [
                f"POST {KEYS} 200 {key[:31]}",
                f"PUT {KEYS}/{{api_key}} 422 {key[:31]} value is not a valid enumeration member; permitted: 'read', 'write'",
                f"POST /demo 403 {key[:31]} permission",
            ],
        )
        self.assertNotIn(key, "".join(shown))
        self.assertNotIn("{\"", shown[-1])
