"""The `aws` commands of the documents, most of which only AWS can carry out: operations and options exist, JSON is JSON."""

import json
import re
import unittest

import botocore.session
from botocore import xform_name

from local import ROOT, blocks

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
# Service, operation, the rest. `aws configure`, `aws sso login` and `aws logs tail` are the AWS CLI's own.
COMMAND = re.compile(
    r"(?:^|[`(])\s*(?:\$ )?(?:\w+=\S+ )*aws (?!configure|sso login|logs tail)([a-z0-9]+) ([a-z][a-z-]+)( [^`\n]*)?", re.MULTILINE
)
# Options of the AWS CLI itself.
EVERYWHERE = {"profile", "region", "output", "query", "endpoint-url"}


class Commands(unittest.TestCase):
    session = botocore.session.Session()

    def operation(self, service, name, rest):
        """The model of an operation; of the one that `aws <service> wait` repeats."""
        model = self.session.get_service_model(service)
        if name == "wait":
            waiters = self.session.get_waiter_model(service)
            names = {xform_name(waiter, "-"): waiter for waiter in waiters.waiter_names}
            return model.operation_model(waiters.get_waiter(names[rest.split()[0]]).operation)
        names = {xform_name(operation, "-"): operation for operation in model.operation_names}
        return model.operation_model(names[name])

    def test_operations_and_options(self):
        seen = 0
        for document in DOCUMENTS:
            text = re.sub(r"\\\n\s*", " ", document.read_text())
            for found in COMMAND.finditer(text):
                service, operation, rest = found[1], found[2], found[3] or ""
                with self.subTest(document=document.name, command=found[0]):
                    shape = self.operation(service, operation, rest).input_shape
                    names = {xform_name(name, "-") for name in shape.members} if shape else set()
                    given = set(re.findall(r"(?:^| )--([a-z][a-z0-9-]*)", rest))
                    self.assertEqual(given - names - {f"no-{name}" for name in names} - EVERYWHERE, set())
                    if given and shape:  # a whole command, not only its name
                        required = {xform_name(name, "-") for name in shape.required_members}
                        self.assertEqual(required - given, set())
                    seen += 1
        self.assertGreaterEqual(seen, 40)

    def test_json_is_json(self):
        for document in DOCUMENTS:
            for block in blocks(document.relative_to(ROOT), "json"):
                with self.subTest(document=document.name):
                    json.loads(block)


if __name__ == "__main__":
    unittest.main()
