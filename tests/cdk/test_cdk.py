"""examples/cdk, synthesised. tests/e2e deploys its protected APIs to an emulator.

Needs Node 20 or later, `npm ci` in examples/cdk, and aws-sam-translator (part of aws-sam-cli); no AWS account.
"""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import zipfile

from stack import MAIN, MONITORING, ROOT, Stack, monitoring

APP = ROOT / "examples/cdk"
KEYS, API, WATCH = "gaia-api-keys", "protected-api", "gaia-api-keys-monitoring"


def run(*command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    environment["TS_NODE_TRANSPILE_ONLY"] = "true"  # test_types checks types
    done = subprocess.run(command, cwd=APP, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def synth(folder, **context):
    """The templates by stack, from `cdk synth` into a folder."""
    settings = [f"--context={name}={value}" for name, value in context.items()]
    printed = run("npx", "cdk", "synth", "--quiet", "--no-notices", f"--output={folder}", *settings)
    assert "WARNING" not in printed.upper(), printed
    return {name: (folder / f"{name}.template.json").read_text() for name in (KEYS, API, WATCH)}


def content(stack):
    """What a stack makes of its defaults, but for the code's location (in IDs of versions too) and the CDK's own check."""
    template = {name: stack.template.get(name) for name in ("Parameters", "Conditions", "Mappings")}
    template["Parameters"].pop("BootstrapVersion", None)
    for function in stack.of_type("AWS::Lambda::Function").values():
        function.pop("Code")
    return json.loads(re.sub(r"(FunctionVersion)\w+", r"\1", json.dumps([template, stack.resources, stack.outputs])))


class Cdk(unittest.TestCase):
    def test_the_stacks_are_the_templates_with_the_zip_of_a_release(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        with zipfile.ZipFile(folder / "released.zip", "w") as archive:
            archive.writestr("bootstrap", b"#!/bin/sh\n")
        found = synth(folder / "out", artifact=folder / "released.zip")
        key = Stack(found[KEYS])["ApiFunction"]["Code"]["S3Key"].removesuffix(".zip")
        source = json.loads((folder / f"out/{KEYS}.assets.json").read_text())["files"][key]["source"]
        self.assertEqual((folder / "out" / source["path"]).read_bytes(), (folder / "released.zip").read_bytes())
        self.assertEqual(content(Stack(found[KEYS])), content(Stack(MAIN)))
        self.assertEqual(content(monitoring(found[WATCH])), content(monitoring(MONITORING)))
        self.assertEqual(found[API].count(r'\"key_id\":\"$context.authorizer.key_id\"'), 2, "the access logs name the key")

    def test_types(self):
        run("npx", "tsc")

    def test_the_lock_names_no_registry(self):
        self.assertNotIn('"resolved"', (APP / "package-lock.json").read_text())
