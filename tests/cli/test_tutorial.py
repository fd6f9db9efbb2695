"""docs/tutorial.md, pasted block by block: on the local service, and in AWS as far as a stand-in for it goes."""

import http.client
import http.server
import json
import os
import re
import textwrap
import threading
import unittest

from command import COMMAND, Case, normal
from local import ROOT, Gateway, Local

TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
TEMPLATES = {"gaia-tutorial": ROOT / "template.yaml", "gaia-tutorial-api": ROOT / "examples/protected-api/template.yaml"}
# The values of outputs that only a deployment gives.
VALUES = {"TableName": "the-table", "KmsKeyId": "the-kms-key", "ApiLogGroup": "the-log-group"}
# What stands in for `aws` and `sam`: outputs by stack and name from the environment; everything else is written down.
AWS = """#!/bin/sh
if [ "$1 $2" = "cloudformation describe-stacks" ]; then
  name=$(echo "$8" | sed "s/.*OutputKey=='\\([A-Za-z]*\\)'.*/\\1/")
  eval "echo \\$$name"
  echo "output $4 $name" >>commands
else
  echo "${0##*/} $*" >>commands
fi
"""


def steps(part):
    """The script of a part, and what it prints."""
    text = TUTORIAL.split(f"\n## Part {part}")[1].split("\n## ")[0]
    script, printed = ("".join(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)) for language in ("bash", "text"))
    return script, printed


class Items(http.server.BaseHTTPRequestHandler):
    """The example API: the authorizer of the local service, then the backend of the example's template."""

    def do_GET(self):
        connection = http.client.HTTPConnection(self.server.local.address, timeout=30)
        connection.request(self.command, "/demo", headers={"Authorization": self.headers["Authorization"]})
        response = connection.getresponse()
        status, body = response.status, response.read().decode()
        connection.close()
        if status == 200:
            code = (ROOT / "examples/protected-api/template.yaml").read_text().split("InlineCode: |\n")[1].split("      LoggingConfig:")[0]
            exec(textwrap.dedent(code), backend := {})
            event = {"requestContext": {"authorizer": {"lambda": json.loads(body)["authorizer"]}}}
            body = backend["handler"](event, None)["body"]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Tutorial(Case):
    def test_on_your_machine(self):
        script, expected = steps(1)
        with Local(sample=False) as local:
            script = script.replace("127.0.0.1:3000", local.address)
            # What a terminal shows for people, and these tests, which have none, get as a time.
            expected = expected.replace("within the hour", "2026-11-24T16:00:00Z")
            self.assertEqual(normal(self.shell(script, local)), normal(expected))
            self.assertEqual(len(local.list()), 1, "the new key")

    def test_in_aws(self):
        script, expected = steps(2)
        for name in ("aws", "sam"):
            (self.folder / name).write_text(AWS)
            (self.folder / name).chmod(0o755)
        with Local(sample=False, SERVICE_NAME="tutorial") as local, Gateway(local) as gateway:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Items)
            server.local = local
            threading.Thread(target=server.serve_forever, daemon=True).start()
            urls = {"ApiUrl": f"http://{gateway.address}", "HttpApiUrl": f"http://127.0.0.1:{server.server_port}/items"}
            path = f"{self.folder}:{COMMAND.parent}:{os.environ['PATH']}"
            try:
                printed = self.shell(script, local, PATH=path, **urls, **VALUES)
            finally:
                server.shutdown()
                server.server_close()
            self.assertEqual(normal(printed), normal(expected))
            self.assertEqual(local.list(), {})
        commands = (self.folder / "commands").read_text()
        asked = re.findall(r"^output (\S+) (\w+)$", commands, flags=re.MULTILINE)
        self.assertEqual(len(asked), 5)
        for stack, name in asked:
            self.assertIn(f"\n  {name}:\n", TEMPLATES[stack].read_text().split("\nOutputs:")[1])
        for value in VALUES.values():
            self.assertIn(value, commands)
        self.assertLess(commands.index("sam delete --stack-name gaia-tutorial-api"), commands.index("sam delete --stack-name gaia-tutorial\n"))

    def test_what_is_deployed(self):
        """Stacks, templates and parameters that exist, and all that stays is cleaned up."""
        script = TUTORIAL.replace("\\\n", "")
        deployed = re.findall(r"^sam deploy --stack-name (\S+)(?: --template-file (\S+))?(.*?) +--parameter-overrides (.+)$", script, flags=re.MULTILINE)
        self.assertEqual([stack for stack, *_ in deployed], list(TEMPLATES))
        for stack, template, options, parameters in deployed:
            self.assertEqual(ROOT / (template or "template.yaml"), TEMPLATES[stack])
            # The SAM CLI looks for samconfig.toml beside the template, so these options don't reach another folder's.
            if template:
                self.assertEqual(options.split(), ["--capabilities", "CAPABILITY_IAM", "--confirm-changeset"])
            for parameter in [*parameters.split(), *(["SetUpRestApiLogging=false"] if template else [])]:
                self.assertIn(f"\n  {parameter.split('=')[0]}:\n    Type: ", TEMPLATES[stack].read_text())
        kept = re.findall(r"^  (\w+):(?:.*)\n(?:    .*\n)*?    DeletionPolicy: Retain", TEMPLATES["gaia-tutorial"].read_text(), flags=re.MULTILINE)
        self.assertEqual(kept, ["Table", "KmsKey", "ApiLogs"])


if __name__ == "__main__":
    unittest.main()
