"""A release: .ci/release.py's files, what `sam package` makes of them, and that everything names one version.

TEST_BINARY is the artifact to package; without it, a file that only looks like one.
"""

import hashlib
import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from unittest import mock

import boto3
from cfnlint.api import lint

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/template"))
from stack import MAIN, Stack, yaml_parse  # noqa: E402

specification = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
release = importlib.util.module_from_spec(specification)
specification.loader.exec_module(release)

VERSION = release.version()
NAME = f"gaia-api-keys-{VERSION}"


def executable(machine):
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\0" + machine.to_bytes(2, "little") + bytes(1000)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.dist = self.folder / "dist"
        self.bootstrap = self.folder / "bootstrap"
        self.bootstrap.write_bytes(executable(62))
        if "TEST_BINARY" in os.environ:
            self.bootstrap = pathlib.Path(os.environ["TEST_BINARY"])

    def package(self, architecture="x86_64"):
        release.package(architecture, self.bootstrap, self.dist)
        release.checksums(self.dist)

    def test_the_files(self):
        self.package()
        names = sorted(path.name for path in self.dist.iterdir())
        kinds = ["x86_64-jwt.yaml", "x86_64.cdx.json", "x86_64.yaml", "x86_64.zip"]
        self.assertEqual(names, ["SHA256SUMS", f"{NAME}-monitoring.yaml", *(f"{NAME}-{kind}" for kind in kinds)])
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=self.dist, check=True)
        self.assertEqual(len((self.dist / "SHA256SUMS").read_text().splitlines()), 5)

    def test_the_zip(self):
        """As Lambda wants it: `bootstrap` at the root, executable. The same bytes tomorrow."""
        self.package()
        path = self.dist / f"{NAME}-x86_64.zip"
        first = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            entry, = archive.infolist()
            self.assertEqual((entry.filename, entry.external_attr >> 16, entry.create_system), ("bootstrap", 0o100755, 3))
            self.assertEqual(archive.read(entry), self.bootstrap.read_bytes())
        os.utime(path, (0, 0))
        with mock.patch("time.time", return_value=time.time() + 86_400), mock.patch.object(release, "bill_of_materials"):
            self.package()
        self.assertEqual(path.read_bytes(), first)

    def test_another_architecture_is_no_release(self):
        for content in (executable(183), b"#!/bin/sh\n".ljust(100, b"\n")):
            wrong = self.folder / "wrong"
            wrong.write_bytes(content)
            with self.assertRaises(SystemExit):
                release.package("x86_64", wrong, self.dist)
        self.assertFalse(self.dist.exists())

    def test_the_bill_of_materials(self):
        self.package()
        bill = json.loads((self.dist / f"{NAME}-x86_64.cdx.json").read_text())
        self.assertEqual((bill["bomFormat"], bill["metadata"]["component"]["version"]), ("CycloneDX", VERSION))
        crates = {component["name"] for component in bill["components"]}
        self.assertGreaterEqual(crates, {"lambda_http", "aws-sdk-dynamodb", "aws-config", "tokio", "serde_json", "ulid"})
        self.assertEqual(crates & {"dynoxide-rs", "axum", "proptest"}, set(), "no crates of the tests")
        self.assertFalse(str(ROOT) in json.dumps(bill), "the path of this machine")

    def test_the_template(self):
        """The same stack, from the zip, for the one architecture."""
        for architecture in release.ARCHITECTURES:
            text = release.template(MAIN, architecture, "artifact.zip")
            self.assertEqual([str(match) for match in lint(text, regions=["us-east-1"])], [])
            self.assertEqual(yaml_parse(text)["Globals"]["Function"]["CodeUri"], "artifact.zip")
            ours, theirs = Stack(text), Stack(MAIN.replace("[x86_64]", f"[{architecture}]"))
            self.assertEqual(ours.parameters, theirs.parameters)
            self.assertEqual(ours.resources, theirs.resources)
            self.assertEqual(ours["AuthorizerFunction"]["Architectures"], [architecture])
        with self.assertRaises(AssertionError):
            release.template(MAIN.replace("CodeUri: ./", "CodeUri: src/"), "arm64", "artifact.zip")

    def test_sam_uploads_the_zip_as_it_is(self):
        """So the SHA-256 that was attested is the one that Lambda says of the function's code."""
        self.package()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        account = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        moto = subprocess.Popen(["moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(moto.wait)
        self.addCleanup(moto.terminate)
        with mock.patch.dict(os.environ, account):
            s3 = boto3.client("s3", endpoint_url=endpoint)
            for _ in range(100):
                try:
                    s3.create_bucket(Bucket="artifacts")
                    break
                except Exception:  # not listening yet
                    time.sleep(0.2)
            # In the downloads' folder, where nothing else of the repository is.
            sam = ["sam", "package", "--template-file", f"{NAME}-x86_64.yaml", "--s3-bucket", "artifacts", "--output-template-file", "packaged.yaml"]
            done = subprocess.run(
                sam, cwd=self.dist, env={**os.environ, "AWS_ENDPOINT_URL": endpoint, "SAM_CLI_TELEMETRY": "0"},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            packaged = yaml_parse((self.dist / "packaged.yaml").read_text())["Resources"]
            uris = {packaged[name]["Properties"]["CodeUri"] for name in ("ApiFunction", "AuthorizerFunction")}
            uri, = uris
            stored = s3.get_object(Bucket="artifacts", Key=uri.removeprefix("s3://artifacts/"))["Body"].read()
            self.assertEqual(len(s3.list_objects_v2(Bucket="artifacts")["Contents"]), 1, "one upload, of the zip alone")
        self.assertEqual(hashlib.sha256(stored).hexdigest(), hashlib.sha256((self.dist / f"{NAME}-x86_64.zip").read_bytes()).hexdigest())


def on_the_day(path):
    """A file as it is when its version is released: the changelog's section has a date."""
    text = (ROOT / path).read_text()
    return text if f"## [{VERSION}]" in text else text.replace("## [Unreleased]\n", f"## [{VERSION}] - 2030-01-31\n")


class Agreement(unittest.TestCase):
    def test_the_version(self):
        with mock.patch.object(release, "read", on_the_day):
            self.assertEqual(release.mistakes(f"v{VERSION}"), [])
            self.assertNotEqual(release.section(), "")

    def test_another_version_is_noticed(self):
        changes = {
            "Cargo.toml": (f'version = "{VERSION}"', 'version = "9.9.9"'),
            "cli/pyproject.toml": (f'version = "{VERSION}"', 'version = "9.9.9"'),
            "openapi.yaml": (f"  version: {VERSION}\n", "  version: 9.9.9\n"),
            "template.yaml": (f"RELEASE: {VERSION}", "RELEASE: 9.9.9"),
            "CHANGELOG.md": (f"## [{VERSION}] - ", f"## [{VERSION}], "),
        }
        for changed, (old, new) in changes.items():
            texts = {path: on_the_day(path) for path in changes}
            self.assertIn(old, texts[changed])
            texts[changed] = texts[changed].replace(old, new, 1)
            with self.subTest(changed), mock.patch.object(release, "read", texts.get):
                self.assertNotEqual(release.mistakes(f"v{VERSION}"), [])
        for tag in ("v9.9.9", VERSION, f"v{VERSION}-rc.1", "v"):
            self.assertNotEqual(release.mistakes(tag), [], tag)


if __name__ == "__main__":
    unittest.main()
