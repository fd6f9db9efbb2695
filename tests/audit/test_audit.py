""".ci/audit fails for a known vulnerability, says which database it can't reach, and passes otherwise.

The databases are made up: a Git repository in RustSec's place, and a server in OSV's.
"""

import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUSTSEC = "https://github.com/RustSec/advisory-db"
ADVISORY = """```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "{crate}"
date = "2026-01-01"
[versions]
patched = []
```

# Made up for a test

It stands in no database.
"""


class Osv(http.server.BaseHTTPRequestHandler):
    """Knows of a vulnerability in every version of one package."""

    vulnerable = ""

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name, version = query["package"]["name"], query["version"]
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "versions": [version]}]
        found = [{"id": "PYSEC-2026-9999", "details": "Made up for a test.", "affected": affected}]
        body = json.dumps({"vulns": found} if name == self.vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Audit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.database = self.folder / "rustsec"
        # cargo deny keeps its copy of the database in CARGO_HOME: the real one must not get these.
        home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
        (self.folder / "cargo").mkdir()
        for entry in home.iterdir():
            if entry.name != "advisory-dbs":
                (self.folder / "cargo" / entry.name).symlink_to(entry)
        self.osv = "http://127.0.0.1:1/v1/query"  # nobody listens there

    def rustsec(self, crate):
        (self.database / "crates" / crate).mkdir(parents=True)
        (self.database / "crates" / crate / "RUSTSEC-2026-9999.md").write_text(ADVISORY.format(crate=crate))
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        for command in (["init", "--quiet", "--initial-branch=main"], ["add", "."], [*identity, "commit", "--quiet", "--message=test"]):
            subprocess.run(["git", *command], cwd=self.database, check=True)

    def serve_osv(self, vulnerable):
        handler = type("Handler", (Osv,), {"vulnerable": vulnerable})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.osv = f"http://127.0.0.1:{server.server_port}/v1/query"

    def audit(self, status, *expected, **environment):
        """The script ends with this status, and prints what is expected; all that it printed."""
        git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{self.database}.insteadOf", "GIT_CONFIG_VALUE_0": RUSTSEC}
        settings = {"CARGO_HOME": str(self.folder / "cargo"), "PIP_AUDIT_OSV_URL": self.osv, "AUDIT_REQUIRED": ""}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 300}
        done = subprocess.run(["bash", ".ci/audit"], cwd=ROOT, env={**os.environ, **git, **settings, **environment}, **options)
        self.assertEqual(done.returncode, status, done.stdout)
        for text in expected:
            self.assertIn(text, done.stdout)
        return done.stdout

    def test_databases_out_of_reach(self):
        skipped = ("skipped: the crates weren't", "skipped: the Python packages of gaia-keys weren't", "can't be reached from here")
        self.audit(0, *skipped)
        self.audit(1, *skipped, AUDIT_REQUIRED="true")

    def test_nothing_known(self):
        self.rustsec("no-crate-of-ours")
        self.serve_osv("no-package-of-ours")
        printed = self.audit(0, "advisories ok", "No known vulnerabilities found", AUDIT_REQUIRED="true")
        self.assertNotIn("skipped", printed)

    def test_a_vulnerable_crate(self):
        self.rustsec("ulid")
        self.audit(1, "RUSTSEC-2026-9999")

    def test_a_vulnerable_package(self):
        self.serve_osv("requests")
        self.audit(1, "PYSEC-2026-9999")


if __name__ == "__main__":
    unittest.main()
