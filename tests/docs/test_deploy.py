"""docs/deploy.md's check of a deployment, through a gateway that checks signatures; and every `aws` command of docs/."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

from local import ROOT, Gateway, Local, blocks, environment

# Service, operation, options. `aws configure` and `aws logs tail` are commands of the AWS CLI alone.
AWS = re.compile(r"(?:^|[`(])\s*(?:\$ )?(?:\w+=\S+ )*aws (?!configure|logs tail)([a-z0-9]+) ([a-z][a-z-]+)( [^`\n]*)?", re.MULTILINE)
ENDS_LINE = " | sed -e '$a\\'"
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


class Deploy(unittest.TestCase):
    def test_the_check(self):
        """The transcript's commands print what it shows. `aws` prints what the stacks would: URLs, no alarm."""
        (session,) = blocks("docs/deploy.md", "console")
        region, outputs = [block for block in blocks("docs/deploy.md", "bash") if "AWS_DEFAULT_REGION" in block or "describe-stacks" in block]
        steps = re.findall(r"^\$ (.+)\n((?:[^$].*\n)*)", session, flags=re.MULTILINE)
        self.assertEqual(sum(1 + shown.count("\n") for _, shown in steps), session.count("\n"), "a line without a step")
        script = region + outputs
        for command, _ in steps:
            assigns = re.match(r"\w+=", command)
            # A response doesn't end in a line break, but the transcript's lines do.
            script += f"echo {shlex.quote(f'$ {command}')}\n{command if assigns else command + ENDS_LINE}\n"
        with Local(sample=False) as local, Gateway(local) as gateway, tempfile.TemporaryDirectory() as folder:
            aws = pathlib.Path(folder, "aws")
            aws.write_text(
                "#!/bin/sh\ncase \"$*\" in\n"
                f"  *gaia-api-keys*ApiUrl*) echo http://{gateway.address} ;;\n"
                f"  *protected-api*HttpApiUrl*) echo http://{local.address}/demo ;;\n"
                "  *describe-alarms*) echo '[]' ;;\nesac\n"
            )
            aws.chmod(0o755)
            env = environment("nowhere", PATH=f"{folder}:{os.environ['PATH']}")
            del env["API"]
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=env, capture_output=True, text=True, timeout=60)
            self.assertEqual(local.list(), {})
        ids = lambda text: re.sub(r"gaia_\w{26}", "ID", text)
        self.assertEqual((ids(done.stdout), done.stderr), (ids(session), ""))


class Aws(unittest.TestCase):
    def test_commands(self):
        """Each `aws` command of the documents names an operation of AWS and options that it has."""
        import botocore.session
        from botocore import xform_name

        everywhere = {"profile", "region", "output", "query", "endpoint-url"}
        session, seen = botocore.session.Session(), 0
        for document in DOCUMENTS:
            text = re.sub(r"\\\n\s*", " ", document.read_text())
            for found in AWS.finditer(text):
                service, operation, rest = found[1], found[2], found[3] or ""
                with self.subTest(document=document.name, command=found[0]):
                    model = session.get_service_model(service)
                    names = {xform_name(name, "-"): name for name in model.operation_names}
                    self.assertIn(operation, names)
                    shape = model.operation_model(names[operation]).input_shape
                    options = {xform_name(name, "-") for name in shape.members} if shape else set()
                    options |= {f"no-{name}" for name in options}
                    given = set(re.findall(r"(?:^| )--([a-z][a-z0-9-]*)", rest))
                    self.assertEqual(given - options - everywhere, set())
                    seen += 1
        self.assertGreaterEqual(seen, 20)

    def test_policies_are_json(self):
        for document in DOCUMENTS:
            for block in blocks(document.relative_to(ROOT), "json"):
                with self.subTest(document=document.name):
                    json.loads(block)


if __name__ == "__main__":
    unittest.main()
