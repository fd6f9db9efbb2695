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
        affected = [{"package": query["package"] | {"ecosystem": "PyPI"}, "versions": [query["version"]]}]
        found = [{"id": "PYSEC-2026-9999", "details": "Made up for a test.", "affected": affected}]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": found} if query["package"]["name"] == self.vulnerable else {}).encode())

    def log_message(self, *_):
        pass


class Audit(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        # cargo deny keeps its copy of the database in CARGO_HOME: the real one must not get these.
        (self.folder / "cargo").mkdir()
        for entry in pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")).iterdir():
            if entry.name != "advisory-dbs":
                (self.folder / "cargo" / entry.name).symlink_to(entry)
        self.osv = "http://127.0.0.1:1/v1/query"  # nobody listens there

    def databases(self, crate, package):
        """Both databases, which know of a vulnerability in one crate and in one package."""
        file = self.folder / f"rustsec/crates/{crate}/RUSTSEC-2026-9999.md"
        file.parent.mkdir(parents=True)
        file.write_text(ADVISORY.format(crate=crate))
        git = ["git", "-C", self.folder / "rustsec", "-c", "user.name=test", "-c", "user.email=test@localhost"]
        for command in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "--message=test"]):
            subprocess.run([*git, *command], check=True)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Osv,), {"vulnerable": package}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        self.osv = f"http://127.0.0.1:{server.server_port}/v1/query"

    def audit(self, status, *expected, required=""):
        """The script ends with this status, and prints what is expected."""
        environment = os.environ | {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{self.folder}/rustsec.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/RustSec/advisory-db",
            "CARGO_HOME": str(self.folder / "cargo"),
            "PIP_AUDIT_OSV_URL": self.osv,
            "AUDIT_REQUIRED": required,
        }
        output = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(["bash", ".ci/audit"], cwd=ROOT, env=environment, timeout=300, **output)
        self.assertEqual(done.returncode, status, done.stdout)
        for text in expected:
            self.assertIn(text, done.stdout)

    def test_databases_out_of_reach(self):
        skipped = ("skipped: the crates weren't", "skipped: the Python packages of gaia-keys weren't")
        self.audit(0, *skipped)
        self.audit(1, *skipped, required="true")

    def test_nothing_known(self):
        self.databases("no-crate-of-ours", "no-package-of-ours")
        self.audit(0, "advisories ok", "No known vulnerabilities found", required="true")

    def test_a_vulnerable_crate(self):
        self.databases("ulid", "no-package-of-ours")
        self.audit(1, "RUSTSEC-2026-9999")

    def test_a_vulnerable_package(self):
        self.databases("no-crate-of-ours", "requests")
        self.audit(1, "PYSEC-2026-9999")


if __name__ == "__main__":
    unittest.main()
