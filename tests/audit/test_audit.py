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

    def audit(self, **environment):
        git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{self.database}.insteadOf", "GIT_CONFIG_VALUE_0": RUSTSEC}
        settings = {"CARGO_HOME": str(self.folder / "cargo"), "PIP_AUDIT_OSV_URL": self.osv, "AUDIT_REQUIRED": ""}
        done = subprocess.run(
            ["bash", ".ci/audit"], cwd=ROOT, env={**os.environ, **git, **settings, **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        )
        return done.returncode, done.stdout

    def test_databases_out_of_reach(self):
        status, printed = self.audit()
        self.assertEqual(status, 0, printed)
        lines = printed.splitlines()
        self.assertEqual([line.split(" weren't ")[0] for line in lines], ["skipped: the crates", "skipped: the Python packages of gaia-keys"])
        self.assertTrue(all("can't be reached from here" in line for line in lines), printed)
        status, printed = self.audit(AUDIT_REQUIRED="true")
        self.assertEqual((status, printed.count("skipped: ")), (1, 2), printed)

    def test_nothing_known(self):
        self.rustsec("no-crate-of-ours")
        self.serve_osv("no-package-of-ours")
        status, printed = self.audit(AUDIT_REQUIRED="true")
        self.assertEqual(status, 0, printed)
        self.assertIn("advisories ok", printed)
        self.assertIn("No known vulnerabilities found", printed)
        self.assertNotIn("skipped", printed)

    def test_a_vulnerable_crate(self):
        self.rustsec("ulid")
        status, printed = self.audit()
        self.assertEqual(status, 1, printed)
        self.assertIn("RUSTSEC-2026-9999", printed)

    def test_a_vulnerable_package(self):
        self.serve_osv("requests")
        status, printed = self.audit()
        self.assertEqual(status, 1, printed)
        self.assertIn("PYSEC-2026-9999", printed)


if __name__ == "__main__":
    unittest.main()
