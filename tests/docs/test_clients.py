"""The programs of docs/clients.md do the whole life of a key, and their signatures are right."""

import functools
import shutil
import subprocess
import sys
import tempfile
import unittest

from local import KEYS, ROOT, SESSION_TOKEN, Gateway, Local, blocks, environment

DOCUMENT = "docs/clients.md"
LIFE = [
    ("POST", f"{KEYS}/", 200),
    ("GET", f"{KEYS}/", 200),
    ("PUT", f"{KEYS}/KEY", 200),
    ("POST", f"{KEYS}/verify", 200),
    ("DELETE", f"{KEYS}/delete/KEY", 200),
]


@functools.cache
def node_modules():
    """A folder with what tests/docs/package.json asks for, installed once."""
    folder = ROOT / "target/docs"
    folder.mkdir(parents=True, exist_ok=True)
    package = ROOT / "tests/docs/package.json"
    installed = folder / "package.json"
    if not installed.exists() or installed.read_text() != package.read_text():
        shutil.copy(package, installed)
        try:
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except BaseException:
            installed.unlink()
            raise
    return folder


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = cls.enterClassContext(Local())

    def run_program(self, gateway, command, program, suffix, folder=None, **variables):
        with tempfile.NamedTemporaryFile("w", suffix=suffix, dir=folder) as file:
            file.write(program)
            file.flush()
            env = environment(gateway.address, **variables)
            done = subprocess.run([*command, file.name], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout + str(gateway.requests))
        self.assertEqual(done.stderr, "")
        return done.stdout.splitlines()

    def life(self, command, program, suffix, folder=None, retries=True, token=SESSION_TOKEN):
        """Runs a program behind the gateway: the same five requests, whatever the language."""
        with Gateway(self.local, token or None) as gateway:
            gateway.faults = ["throttled"] if retries else []
            printed = self.run_program(gateway, command, program, suffix, folder, AWS_SESSION_TOKEN=token)
        requests = [(method, path.removesuffix("?limit=100"), status) for method, path, status in gateway.requests]
        self.assertEqual(requests, [("POST", f"{KEYS}/", 429)] * retries + LIFE)
        self.assertEqual(len(self.local.list()), 1, "the sample key alone is left")
        return printed

    def pages(self, command, program, suffix, folder=None):
        """Nothing of the list gets lost where it has pages."""
        more = [self.local.create({}) for _ in range(4)]
        try:
            with Gateway(self.local) as gateway:
                program = program.replace("API}/`) {", "API}/?limit=2`) {").replace('path = "/"\n', 'path = "/?limit=2"\n')
                printed = self.run_program(gateway, command, program, suffix, folder)
            self.assertEqual(printed[0], "6")
            self.assertEqual(sum(method == "GET" for method, _, _ in gateway.requests), 3)
        finally:
            for key in more:
                self.local.send("DELETE", f"{KEYS}/delete/{key}")

    def test_every_language_is_there(self):
        counts = [len(blocks(DOCUMENT, language)) for language in ("bash", "python", "javascript")]
        self.assertEqual(counts, [1, 2, 1])

    def test_curl(self):
        (program,) = blocks(DOCUMENT, "bash")
        for token in (SESSION_TOKEN, ""):
            printed = self.life(["bash"], program, ".sh", retries=False, token=token)
            self.assertEqual(printed, ["2", "updated", "true", "deleted"])

    def test_python_requests(self):
        program, _ = blocks(DOCUMENT, "python")
        printed = self.life([sys.executable], program, ".py")
        self.assertEqual(printed, ["2", "updated", "True", "deleted"])
        self.pages([sys.executable], program, ".py")

    def test_python_boto3(self):
        _, program = blocks(DOCUMENT, "python")
        self.assertEqual(self.life([sys.executable], program, ".py", retries=False), ["2", "updated", "True", "deleted"])

    def test_javascript(self):
        (program,) = blocks(DOCUMENT, "javascript")
        folder = node_modules()
        printed = self.life(["node"], program, ".mjs", folder)
        self.assertEqual(printed, ["2", "updated", "true", "deleted"])
        self.pages(["node"], program, ".mjs", folder)

    def test_a_wrong_secret_is_refused(self):
        """The gateway of these tests does check."""
        _, program = blocks(DOCUMENT, "python")
        with Gateway(self.local) as gateway, tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(program)
            file.flush()
            env = environment(gateway.address, AWS_SECRET_ACCESS_KEY="another")
            done = subprocess.run([sys.executable, file.name], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("403", done.stderr)


if __name__ == "__main__":
    unittest.main()
