"""examples/cdk, synthesised. tests/e2e/test_protected_cdk.py deploys the protected APIs to an emulator.

    python -m unittest discover -s tests/cdk

Needs Node 20 or later, `npm ci` in examples/cdk, and aws-sam-translator (part of aws-sam-cli); no AWS account.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/template"))

from stack import MAIN, MONITORING, Stack, as_list, yaml_parse

APP = ROOT / "examples/cdk"
KEYS, API, WATCH = "gaia-api-keys", "protected-api", "gaia-api-keys-monitoring"
BOOTSTRAP = b"#!/bin/sh\n"

# Where the stack of the keys differs from template.yaml: the code's location, the CDK's own version check, and how the
# authorizer's alias is written, which becomes the same in the SAM transform.
DIFFERENCES = {
    "Resources.ApiFunction.Properties.CodeUri",
    "Resources.AuthorizerFunction.Properties.CodeUri",
    "Parameters.BootstrapVersion",
    "Rules.CheckBootstrapVersion",
    "Resources.AuthorizerPermission.Properties.FunctionName",
    "Outputs.AuthorizerArn.Value",
}


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


def differences(found, expected, path=""):
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in found.keys() | expected.keys():
            if name in found and name in expected:
                yield from differences(found[name], expected[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}".removeprefix(".")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, pair in enumerate(zip(found, expected)):
            yield from differences(*pair, f"{path}.{index}")
    elif ".".join(map(str, as_list(found))) != ".".join(map(str, as_list(expected))):  # GetAtt is a text or a list
        yield path.removeprefix(".")


def unexpected(text):
    """Where a template of the keys' stack differs from template.yaml, and shouldn't; where it doesn't, and should."""
    paths = differences(json.loads(text), yaml_parse(MAIN))
    return {next((parent for parent in DIFFERENCES if f"{path}.".startswith(f"{parent}.")), path) for path in paths} ^ DIFFERENCES


class Cdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        (cls.folder / "built").mkdir()
        (cls.folder / "built/bootstrap").write_bytes(BOOTSTRAP)
        cls.defaults = synth(cls.folder / "defaults", artifact=cls.folder / "built")

    def asset(self, name, text):
        """The file or folder of the function's code, and how it is packed."""
        key = Stack(text)["ApiFunction"]["Code"]["S3Key"].removesuffix(".zip")
        source = json.loads((self.folder / f"{name}/{KEYS}.assets.json").read_text())["files"][key]["source"]
        return self.folder / name / source["path"], source["packaging"]

    def test_the_keys_stack_is_the_template(self):
        self.assertEqual(unexpected(self.defaults[KEYS]), set())
        path, packaging = self.asset("defaults", self.defaults[KEYS])
        self.assertEqual(((path / "bootstrap").read_bytes(), packaging), (BOOTSTRAP, "zip"))

    def test_the_monitoring_stack_is_the_template(self):
        paths = set(differences(json.loads(self.defaults[WATCH]), yaml_parse(MONITORING)))
        self.assertEqual(paths, {"Parameters.BootstrapVersion", "Rules.CheckBootstrapVersion"})

    def test_a_difference_is_noticed(self):
        for old, new in (
            ('"Default": "full"', '"Default": "id"'),
            ('"KEY_DISCLOSURE"', '"DISCLOSURE"'),
            ('"DeletionPolicy": "RetainExceptOnCreate"', '"DeletionPolicy": "Delete"'),
            ('"ApiFunctionRole.Arn"', '"AuthorizerFunctionRole.Arn"'),
            ('"CheckBootstrapVersion"', '"Check"'),
        ):
            self.assertIn(old, self.defaults[KEYS])
            self.assertNotEqual(unexpected(self.defaults[KEYS].replace(old, new)), set(), new)

    def test_the_zip_of_a_release_and_other_settings(self):
        released = self.folder / "released.zip"
        with zipfile.ZipFile(released, "w") as archive:
            archive.writestr("bootstrap", BOOTSTRAP)
        other = synth(self.folder / "other", artifact=released, authorizerCacheSeconds=300, setUpRestApiLogging="false")
        self.assertEqual(unexpected(other[KEYS]), set())
        path, packaging = self.asset("other", other[KEYS])
        self.assertEqual((path.read_bytes(), packaging), (released.read_bytes(), "file"))
        # Another authorizer or other code must be deployed: a REST API serves its last deployment, an alias its version.
        for kind, name in (("AWS::ApiGateway::Deployment", API), ("AWS::Lambda::Version", KEYS)):
            before, after = (set(Stack(templates[name]).of_type(kind)) for templates in (self.defaults, other))
            self.assertEqual(before & after, set(), kind)

    def test_the_access_logs_name_the_key(self):
        formats = [
            json.loads(settings["Format"])
            for resource in json.loads(self.defaults[API])["Resources"].values()
            for settings in [resource["Properties"].get("AccessLogSettings") or resource["Properties"].get("AccessLogSetting")]
            if settings
        ]
        self.assertEqual([format["key_id"] for format in formats], ["$context.authorizer.key_id"] * 2)

    def test_the_artifact_is_where_cargo_lambda_puts_it(self):
        settings = json.loads((APP / "cdk.json").read_text())["context"]
        self.assertEqual((APP / settings["artifact"]).resolve(), ROOT / "target/lambda/gaia-api-keys")

    def test_types(self):
        run("npx", "tsc")

    def test_the_lock_names_no_registry(self):
        self.assertNotIn('"resolved"', (APP / "package-lock.json").read_text())


if __name__ == "__main__":
    unittest.main()
