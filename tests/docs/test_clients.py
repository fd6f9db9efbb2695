"""The programs of docs/clients.md do the whole life of a key, and their signatures are right."""

import functools
import os
import pathlib
import re
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
    ("GET", f"{KEYS}/KEY", 200),
    ("POST", f"{KEYS}/KEY/rotate", 200),
    ("DELETE", f"{KEYS}/delete/KEY", 200),
    ("DELETE", f"{KEYS}/delete/KEY", 200),
]
PRINTED = ["2", "updated", "true", "an hour", "rotated", "deleted", "deleted"]


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


def built(program):
    """The binary of a program in Rust, with the dependencies of tests/docs/rust."""
    folder = ROOT / "target/docs/rust"
    shutil.copytree(ROOT / "tests/docs/rust", folder, dirs_exist_ok=True)
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src/main.rs").write_text(program)
    command = ["cargo", "build", "--quiet", "--locked", "--target-dir", "target"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "target/debug/client"


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = cls.enterClassContext(Local())

    def run_program(self, gateway, command, **variables):
        """What a program printed that was sent to the gateway."""
        env = environment(gateway.address, **variables)
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout + str(gateway.requests))
        self.assertEqual(done.stderr, "")
        return done.stdout.splitlines()

    def life(self, command, retries=True, token=SESSION_TOKEN):
        """Runs a program behind the gateway: the same requests, whatever the language."""
        with Gateway(self.local, token or None) as gateway:
            gateway.faults = ["throttled"] if retries else []
            printed = self.run_program(gateway, command, AWS_SESSION_TOKEN=token)
        requests = [(method, path.removesuffix("?limit=100"), status) for method, path, status in gateway.requests]
        self.assertEqual(requests, [("POST", f"{KEYS}/", 429)] * retries + LIFE)
        self.assertEqual(len(self.local.list()), 1, "the sample key alone is left")
        return [re.sub(r"^20\d\d-\d\d-\d\dt\d\d:00:00z$", "an hour", line.strip('"').lower()) for line in printed]

    def pages(self, command):
        """Nothing of the list gets lost where it has pages; the command's program asks for two keys at a time."""
        more = [self.local.create({}) for _ in range(4)]
        try:
            with Gateway(self.local) as gateway:
                printed = self.run_program(gateway, command)
            self.assertEqual(printed[0], "6")
            self.assertEqual(sum(method == "GET" and "?" in path for method, path, _ in gateway.requests), 3)
        finally:
            for key in more:
                self.local.send("DELETE", f"{KEYS}/delete/{key}")

    def program(self, text, suffix, folder=None):
        file = self.enterContext(tempfile.NamedTemporaryFile("w", suffix=suffix, dir=folder))
        file.write(text)
        file.flush()
        return file.name

    def changed(self, text, before, after):
        self.assertIn(before, text)
        return text.replace(before, after)

    def test_curl(self):
        (program,) = blocks(DOCUMENT, "bash")
        for token in (SESSION_TOKEN, ""):
            self.assertEqual(self.life(["bash", self.program(program, ".sh")], retries=False, token=token), PRINTED)

    def test_python_requests(self):
        program, _, _ = blocks(DOCUMENT, "python")
        self.assertEqual(self.life([sys.executable, self.program(program, ".py")]), PRINTED)
        paged = self.changed(program, 'path = "/"\n', 'path = "/?limit=2"\n')
        self.pages([sys.executable, self.program(paged, ".py")])

    def test_python_boto3(self):
        _, program, _ = blocks(DOCUMENT, "python")
        self.assertEqual(self.life([sys.executable, self.program(program, ".py")], retries=False), PRINTED)

    def test_python_generated(self):
        """What openapi-python-client makes of openapi.yaml, without a warning."""
        _, _, program = blocks(DOCUMENT, "python")
        generate, = [line for text in blocks(DOCUMENT, "sh") for line in text.splitlines() if "generate" in line]
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        generate = self.changed(generate, " openapi.yaml", f" {ROOT}/openapi.yaml") + " --fail-on-warning"
        subprocess.run(generate, shell=True, cwd=folder, env=os.environ | {"PATH": path}, check=True, capture_output=True)
        self.assertEqual(self.life([sys.executable, self.program(program, ".py", folder)], retries=False), PRINTED)

    def test_javascript(self):
        (program,) = blocks(DOCUMENT, "javascript")
        folder = node_modules()
        self.assertEqual(self.life(["node", self.program(program, ".mjs", folder)]), PRINTED)
        paged = self.changed(program, "API}/`) {", "API}/?limit=2`) {")
        self.pages(["node", self.program(paged, ".mjs", folder)])

    def test_rust(self):
        (program,) = blocks(DOCUMENT, "rust")
        self.assertEqual(self.life([built(program)]), PRINTED)
        self.pages([built(self.changed(program, '"/".to_owned()', '"/?limit=2".to_owned()'))])

    def test_a_wrong_secret_is_denied(self):
        """The gateway of these tests does check."""
        _, program, _ = blocks(DOCUMENT, "python")
        with Gateway(self.local) as gateway:
            env = environment(gateway.address, AWS_SECRET_ACCESS_KEY="another")
            command = [sys.executable, self.program(program, ".py")]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("403", done.stderr)


if __name__ == "__main__":
    unittest.main()
