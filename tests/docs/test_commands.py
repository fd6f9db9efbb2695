"""The commands of the documents that only AWS can carry out: operations, options and parameters exist, JSON is JSON."""

import json
import re
import shlex
import subprocess
import unittest

import botocore.session
from botocore import xform_name
from click import Context
from gaia_keys.main import cli as gaia_keys
from samcli.cli.context import Context as Sam
from samcli.cli.main import cli as sam

from jwt_template import jwt_template
from local import ROOT, blocks

TEMPLATES = {
    "--config-env monitoring": (ROOT / "stacks/monitoring.yaml").read_text(),
    "usage-plans": (ROOT / "examples/protected-api/usage-plans.yaml").read_text(),
    "protected-api": (ROOT / "examples/protected-api/template.yaml").read_text(),
    "": jwt_template((ROOT / "template.yaml").read_text()),  # template.yaml and two parameters
}
DOCUMENTS = [path.relative_to(ROOT) for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]]
# Service, operation, the rest. `aws configure`, `aws sso login` and `aws logs tail` are the AWS CLI's own.
AWS = re.compile(
    r"(?:^|[`(])\s*(?:\$ )?(?:\w+=\S+ )*aws (?!configure|sso login|logs tail)([a-z0-9]+) ([a-z][a-z-]+)( [^`\n]*)?", re.MULTILINE
)
# Programs that are made with click: whole lines, `NAME=$(...)`, and in a sentence.
CLICK = re.compile(r"^\s*(?:\w+=\$\()?((?:sam|gaia-keys) [^|<>;)\n]+)|`((?:sam|gaia-keys) [^|<>;`]+)`", re.MULTILINE)
# Options of the AWS CLI itself.
EVERYWHERE = {"profile", "region", "output", "query", "endpoint-url"}
PARAMETER = re.compile(r"^  (\w+):\n    Type: ", re.MULTILINE)


def options(command):
    return {name for parameter in command.params for name in parameter.opts}


class Commands(unittest.TestCase):
    session = botocore.session.Session()

    def found(self, pattern):
        """Every command that matches."""
        texts = [re.sub(r"\\\n\s*", " ", (ROOT / path).read_text()) for path in DOCUMENTS]
        commands = [found for text in texts for found in pattern.finditer(text)]
        self.assertTrue(commands)
        return commands

    def operation(self, service, name, rest):
        """The model of an operation; of the one that `aws <service> wait` repeats."""
        model = self.session.get_service_model(service)
        if name == "wait":
            waiters = self.session.get_waiter_model(service)
            names = {xform_name(waiter, "-"): waiter for waiter in waiters.waiter_names}
            return model.operation_model(waiters.get_waiter(names[rest.split()[0]]).operation)
        return model.operation_model({xform_name(operation, "-"): operation for operation in model.operation_names}[name])

    def test_aws(self):
        for found in self.found(AWS):
            service, operation, rest = found[1], found[2], found[3] or ""
            with self.subTest(found[0]):
                shape = self.operation(service, operation, rest).input_shape
                names = {xform_name(name, "-") for name in shape.members} if shape else set()
                given = set(re.findall(r"(?:^| )--([a-z][a-z0-9-]*)", rest))
                self.assertEqual(given - names - {f"no-{name}" for name in names} - EVERYWHERE, set())
                if given and shape:  # a whole command, not only its name
                    self.assertEqual({xform_name(name, "-") for name in shape.required_members} - given, set())

    def test_sam_and_gaia_keys(self):
        # `gaia-keys COMMAND --help` is one of them, whose options are those of all commands.
        everywhere = options(gaia_keys) | {"--help"}
        for found in self.found(CLICK):
            program, *words = shlex.split(" ".join((found[1] or found[2]).split()), comments=True)
            group, context = (sam, Context(sam, obj=Sam())) if program == "sam" else (gaia_keys, None)
            known = set() if program == "sam" else everywhere
            with self.subTest(found[0]):
                while words and hasattr(group, "get_command") and words[0] != "COMMAND":
                    if words[0].startswith("-"):  # and its value
                        self.assertIn(words[0], known | options(group))
                        del words[:2]
                    else:
                        group = group.get_command(context, words.pop(0))
                        self.assertIsNotNone(group)
                given = {word for word in words if word.startswith("-")}
                self.assertEqual(given - known - options(group), set())
                if program == "sam":
                    template = next(text for name, text in TEMPLATES.items() if name in found[0])
                    parameters = set(PARAMETER.findall(template.split("\nResources:\n")[0]))
                    overridden = {word.split("=")[0] for word in words if re.match(r"[A-Z]\w+=", word)}
                    self.assertEqual(overridden - parameters, set())

    def test_blocks_can_be_read(self):
        """By a shell, and as JSON. Events that they name exist."""
        for path in [*DOCUMENTS, "events/README.md"]:
            for event in re.findall(r"events/[\w-]+/[\w.-]+\.json", (ROOT / path).read_text()):
                self.assertTrue((ROOT / event).exists(), event)
            for block in [block for language in ("shell", "bash") for block in blocks(path, language)]:
                done = subprocess.run(["bash", "-n", "-c", block], capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), block)
            for block in blocks(path, "json"):
                with self.subTest(path, block=block):
                    json.loads(block)
