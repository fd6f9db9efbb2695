"""A release: .ci/release.py's files, and that everything names one version.

TEST_BINARY is the artifact to package; without it, a file that only looks like one.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import zipfile
from unittest import mock

import release
from stack import MAIN, ROOT, Stack

VERSION = release.version()
NAME = f"gaia-api-keys-{VERSION}"
EXECUTABLE = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + b"\x03\0%c\0" + bytes(1000)  # %c: 62 is x86_64, 183 arm64


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.dist, example = cls.folder / "dist", cls.folder / "bootstrap"
        example.write_bytes(EXECUTABLE % 62)
        cls.bootstrap = pathlib.Path(os.environ.get("TEST_BINARY", example))
        release.package("x86_64", cls.bootstrap, cls.dist)
        release.checksums(cls.dist)

    def test_the_files(self):
        kinds = ("x86_64-jwt.yaml", "x86_64.cdx.json", "x86_64.yaml", "x86_64.zip", "monitoring.yaml")
        expected = {f"{NAME}-{kind}" for kind in kinds}
        self.assertEqual({path.name for path in self.dist.iterdir()}, expected | {"SHA256SUMS"})
        lines = (self.dist / "SHA256SUMS").read_text().splitlines()
        self.assertEqual({line.split()[1] for line in lines}, expected)
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=self.dist, check=True)

    def test_the_zip(self):
        """As Lambda wants it: `bootstrap` at the root, executable. The same bytes tomorrow."""
        path = self.dist / f"{NAME}-x86_64.zip"
        with zipfile.ZipFile(path) as archive:
            entry, = archive.infolist()
            self.assertEqual((entry.filename, entry.external_attr >> 16, entry.create_system), ("bootstrap", 0o100755, 3))
            self.assertEqual(archive.read(entry), self.bootstrap.read_bytes())
        with mock.patch("time.time", return_value=1):
            release.write_zip(self.folder / "again.zip", self.bootstrap.read_bytes())
        self.assertEqual((self.folder / "again.zip").read_bytes(), path.read_bytes())

    def test_another_architecture_is_no_release(self):
        for content in (EXECUTABLE % 183, b"#!/bin/sh\n".ljust(100, b"\n")):
            (self.folder / "wrong").write_bytes(content)
            with self.assertRaises(SystemExit):
                release.package("x86_64", self.folder / "wrong", self.folder / "none")

    def test_the_bill_of_materials(self):
        bill = json.loads((self.dist / f"{NAME}-x86_64.cdx.json").read_text())
        crates = {component["name"] for component in bill["components"]}
        self.assertGreaterEqual(crates, {"lambda_http", "aws-sdk-dynamodb", "aws-config", "tokio", "serde_json", "ulid"})
        self.assertEqual(crates & {"dynoxide-rs", "axum", "proptest"}, set(), "no crates of the tests")
        self.assertNotIn(str(ROOT), json.dumps(bill), "the path of this machine")

    def test_the_template(self):
        """The same stack, from the zip, for the one architecture."""
        for architecture in release.ARCHITECTURES:
            text = release.template(MAIN, architecture, "artifact.zip")
            self.assertEqual(text.count("CodeUri: artifact.zip\n"), MAIN.count("CodeUri: ./\n"))
            text = text.replace("CodeUri: artifact.zip\n", "CodeUri: ./\n")
            self.assertEqual(Stack(text).resources, Stack(MAIN.replace("[x86_64]", f"[{architecture}]")).resources)


def on_the_day(path):
    """A file as it is when its version is released: the changelog's section has a date."""
    section = f"## [{VERSION}] - 2030-01-31\n"
    text = (ROOT / path).read_text()
    return text if f"## [{VERSION}]" in text else text.replace("## [Unreleased]\n", section)


class Agreement(unittest.TestCase):
    def test_another_version_is_noticed(self):
        with mock.patch.object(release, "read", on_the_day):
            self.assertEqual(release.mistakes(f"v{VERSION}"), [])
            for tag in ("v9.9.9", VERSION, f"v{VERSION}-rc.1", "v"):
                self.assertNotEqual(release.mistakes(tag), [], tag)
        for changed, old in {
            "Cargo.toml": f'version = "{VERSION}"',
            "cli/pyproject.toml": f'version = "{VERSION}"',
            "openapi.yaml": f"  version: {VERSION}\n",
            "template.yaml": f"RELEASE: {VERSION}",
            "README.md": f"gaia-api-keys-{VERSION}",
            "docs/deploy.md": f"refs/tags/v{VERSION}",
            "CHANGELOG.md": f"## [{VERSION}] - ",
        }.items():
            def edited(path):
                new = old.replace(VERSION, "9.9.9") if path == changed else old
                return on_the_day(path).replace(old, new)

            with self.subTest(changed), mock.patch.object(release, "read", edited):
                self.assertNotEqual(release.mistakes(f"v{VERSION}"), [])
