"""What docs/ says of the templates, of the SAM CLI and of prices is what these give."""

import fnmatch
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import cost
from cfnlint.api import lint
from check import HARMLESS_VARIABLES, as_list
from check_api import ROUTES
from check_watching import metrics
from stack import EXAMPLE, MAIN, ROOT, Stack, apply, log_variables, routes

DEPLOY = (ROOT / "docs/deploy.md").read_text()
TEMPLATE = (ROOT / "docs/template.md").read_text()
PROTECT = (ROOT / "docs/protect-an-api.md").read_text()
COST = (ROOT / "docs/cost.md").read_text()
SAM = importlib.util.find_spec("samcli")
# `sam`, without the bucket that it would create in AWS: what follows the prompts fails.
GUIDED = """
import sys
import samcli.commands.deploy.guided_context as guided
guided.manage_stack = lambda **_: "bucket"
guided.GuidedContext.prompt_image_repository = lambda *_, **__: None
from samcli.cli.main import cli
cli(sys.argv[1:], prog_name="sam")
"""


def section(text, heading):
    """A document from one heading to the next of the same level or above."""
    level = heading.split()[0]
    below = text.split(f"\n{heading}\n")[1]
    return re.split(rf"^#{{1,{len(level)}}} ", below, flags=re.MULTILINE)[0]


def rows(text):
    """The rows of all tables in a text whose first cell is a name in code: name to the other cells."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {first.strip("`"): others for first, *others in cells}


class Docs(unittest.TestCase):
    def test_jwt_diff(self):
        diff, = re.findall(r"^```diff\n(.*?)^```", DEPLOY, flags=re.MULTILINE | re.DOTALL)
        text = apply(diff, MAIN)
        # One Region, as `cfn-lint` and `sam validate` have it: for all of them it takes minutes over the roles' ARNs.
        self.assertEqual([str(match) for match in lint(text, regions=["us-east-1"])], [])
        stack = Stack(text, JwtIssuer="https://issuer.example", JwtAudience="gaia-api-keys")
        body = stack["Api"]["Body"]
        self.assertEqual(set(routes(body)), ROUTES)
        for route, operation in routes(body).items():
            self.assertEqual(operation["security"], [{"Jwt": ["gaia-api-keys/manage"]}], route)
        self.assertEqual(body["components"]["securitySchemes"]["Jwt"]["x-amazon-apigateway-authorizer"], {
            "type": "jwt",
            "identitySource": "$request.header.Authorization",
            "jwtConfiguration": {"issuer": "https://issuer.example", "audience": ["gaia-api-keys"]},
        })
        variables = log_variables(stack["ApiApiGatewayDefaultStage"]["AccessLogSettings"]["Format"])
        self.assertIn("authorizer.claims.sub", variables)
        self.assertEqual(variables - HARMLESS_VARIABLES, set())

    def test_policies_of_callers(self):
        """With and without the slash, as IAM may compare either. Who only looks or only checks keys can do nothing else."""
        documents = [json.loads(b) for b in re.findall(r"^```json\n(.*?)^```", DEPLOY, flags=re.MULTILINE | re.DOTALL)]
        manage, look, verify = (d["Statement"][0] for d in documents if "execute-api" in json.dumps(d))
        for route in sorted(ROUTES - {"$default"}):
            method, path = route.split()
            for slash in ("", "/"):
                arn = f"arn:aws:execute-api:eu-central-1:111122223333:abc123/$default/{method}{path}{slash}"
                for statement, expected in ((manage, True), (look, method == "GET"), (verify, path.endswith("/verify"))):
                    self.assertEqual((statement["Effect"], statement["Action"]), ("Allow", "execute-api:Invoke"))
                    allowed = any(fnmatch.fnmatchcase(arn, pattern) for pattern in as_list(statement["Resource"]))
                    self.assertEqual(allowed, expected, f"{statement['Resource']} {arn}")

    def test_parameters(self):
        """Each has a row with its default, in the order of the console; so have those of the example."""
        for heading, template in (("## Parameters", MAIN), ("## The example of a protected API", EXAMPLE)):
            stack, found = Stack(template), rows(section(TEMPLATE, heading))
            found = {name: cells[0].strip("`").replace("empty", "") for name, cells in found.items() if len(cells) == 2}
            self.assertEqual(found, {name: str(default) for name, default in stack.parameters.items()})
        groups = Stack(MAIN).template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for group in groups:
            named = rows(section(TEMPLATE, f"### {group['Label']['default']}"))
            self.assertEqual(list(named), group["Parameters"])

    def test_outputs(self):
        self.assertEqual(list(rows(section(TEMPLATE, "## Outputs"))), list(Stack(MAIN).outputs))
        example = rows(section(TEMPLATE, "## The example of a protected API"))
        self.assertEqual([name for name, cells in example.items() if len(cells) == 1], list(Stack(EXAMPLE).outputs))

    def test_what_stays(self):
        kept = {
            name: resource["DeletionPolicy"]
            for name, resource in Stack(MAIN).resources.items()
            # A version stays when the next one is published, and goes with its function.
            if resource.get("DeletionPolicy", "Delete") != "Delete" and resource["Type"] != "AWS::Lambda::Version"
        }
        said = re.findall(r"^\| `(\w+)`.*? \| stays \| (stays|is deleted)", section(TEMPLATE, "## What stays"), flags=re.MULTILINE)
        policies = {"stays": "Retain", "is deleted": "RetainExceptOnCreate"}
        self.assertEqual({name: policies[on_failure] for name, on_failure in said}, kept)
        kept = [name for name, r in Stack(EXAMPLE).resources.items() if r.get("DeletionPolicy") == "Retain"]
        self.assertEqual([name for name in kept if f"`{name}`" in section(TEMPLATE, "## The example of a protected API")], kept)

    def test_limits(self):
        stack, timeouts = Stack(MAIN), section(TEMPLATE, "### Timeouts")
        for name in ("ApiFunction", "AuthorizerFunction"):
            self.assertIn(f"| `{name}` | {stack[name]['Timeout']} |", timeouts)
        own = stack["ApiApiGatewayDefaultStage"]["RouteSettings"]["$default"]
        said = f"{own['ThrottlingRateLimit']} requests per second, with a burst of {own['ThrottlingBurstLimit']}"
        self.assertIn(said, " ".join(TEMPLATE.split()))

    def test_snippets_are_of_the_example(self):
        """The indentation apart."""
        lines = [line.split(" #")[0].strip() for line in EXAMPLE.splitlines()]
        snippets = re.findall(r"^ *```yaml\n(.*?)^ *```", PROTECT, flags=re.MULTILINE | re.DOTALL)
        self.assertEqual(len(snippets), 3)
        for snippet in snippets:
            wanted = [line.split(" #")[0].strip() for line in snippet.splitlines()]
            wanted = [line for line in wanted if not line.startswith("#")]
            left = iter(lines)
            self.assertEqual([line for line in wanted if line not in left], [], snippet)

    def prompts(self, *arguments, answers):
        """What `sam deploy --guided` asks, and the parameters that it saves."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ("template.yaml", "samconfig.toml", "examples/protected-api/template.yaml"):
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, Path(folder) / name)
            env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
                "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1", "SAM_CLI_TELEMETRY": "0",
            }
            command = [sys.executable, "-c", GUIDED, "deploy", "--guided", *arguments]
            done = subprocess.run(command, cwd=folder, env=env, input=answers, capture_output=True, text=True, timeout=120)
            asked = done.stdout.split("=========================================\n")[1].split("Looking for")[0]
            saved = {str(path.relative_to(folder)): path.read_text() for path in Path(folder).rglob("samconfig.toml")}
        return re.findall(r"\t([^\t#\n]+?) \[[^\]]*\]: ", asked), saved

    @unittest.skipUnless(SAM, "there is no SAM CLI")
    def test_prompts(self):
        """Each prompt of `sam deploy --guided` in its order, with every default taken but the last."""
        for heading in ("## Deploy the stack", "## Deploy the example"):
            text = section(DEPLOY, heading)
            command, = (line for line in text.splitlines() if line.startswith("sam deploy"))
            *prompts, last = rows(text)
            self.assertEqual(last, "Deploy this changeset?")
            asked, saved = self.prompts(*shlex.split(command)[3:], answers="\n" * (len(prompts) - 1) + "n\n")
            self.assertEqual(asked, prompts)
            self.assertEqual(saved, {"samconfig.toml": (ROOT / "samconfig.toml").read_text()}, "nothing is saved")

    @unittest.skipUnless(SAM, "there is no SAM CLI")
    def test_why_not_to_save(self):
        asked, saved = self.prompts(answers="\n" * 99)
        text = section(DEPLOY, "## Deploy the stack")
        for prompt in asked[-2:]:
            self.assertIn(f"`{prompt}`", text.split("If you do save the arguments")[1])
        overrides, = re.findall(r"^parameter_overrides = .*$", saved["samconfig.toml"], flags=re.MULTILINE)
        for name in Stack(MAIN).parameters:
            self.assertIn(f"{name}=", overrides)
        self.assertIn('KmsKeyId=\\"\\" ', overrides)

    @unittest.skipUnless(SAM, "there is no SAM CLI")
    def test_overrides(self):
        """An empty value, and one with a space."""
        from click import BadParameter
        from samcli.cli.types import CfnParameterOverridesType

        read = lambda *texts: CfnParameterOverridesType().convert(texts, None, None)
        self.assertEqual(read("KmsKeyId=a", 'SecondaryKmsKeyId=""'), {"KmsKeyId": "a", "SecondaryKmsKeyId": ""})
        self.assertEqual(read("KmsKeyId=a SecondaryKmsKeyId="), {"KmsKeyId": "a"})
        override, = re.findall(r"--parameter-overrides '(ReadRoutes=.*)'$", PROTECT, flags=re.MULTILINE)
        self.assertEqual(read(override), {"ReadRoutes": "POST /es/api/v1/search/*"})
        with self.assertRaises(BadParameter):
            read("KmsKeyId=a", "SecondaryKmsKeyId=")

    @unittest.skipUnless(SAM, "there is no SAM CLI")
    def test_sam_commands(self):
        """Every `sam` command of the documents has a subcommand and options of the SAM CLI, and parameters of the template."""
        from click import Context
        from samcli.cli.context import Context as Sam
        from samcli.cli.main import cli

        commands, context = 0, Context(cli, obj=Sam())
        for document in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]):
            text = document.read_text()
            for line in re.findall(r"^\s*(sam .+)$|`(sam [^`]+)`", re.sub(r"\\\n\s*", "", text), flags=re.MULTILINE):
                words, group = shlex.split("".join(line), comments=True)[1:], cli
                with self.subTest(document=document.name, command="".join(line)):
                    while words and hasattr(group, "get_command"):
                        group = group.get_command(context, words.pop(0))
                        self.assertIsNotNone(group)
                    known = {name for parameter in group.params for name in parameter.opts}
                    self.assertEqual({word for word in words if word.startswith("-")} - known, set())
                    overridden = {word.split("=")[0] for word in words if re.match(r"[A-Z]\w+=", word)}
                    template = EXAMPLE if "protected-api" in words or "examples/protected-api/template.yaml" in words else MAIN
                    self.assertEqual(overridden - set(Stack(template).parameters), set())
                    commands += 1
        self.assertGreaterEqual(commands, 10)

    def test_price_of_a_cache(self):
        """The columns of docs/protect-an-api.md that say what checks and traces cost."""
        found = re.findall(r"^\| \*?\*?([\d,]+) ?s?\*?\*?.*\| ([\d.]+) \| ([\d.]+) \|$", PROTECT, flags=re.MULTILINE)
        self.assertEqual([ttl for ttl, *_ in found], ["0", "60", "300", "3,600"])
        for ttl, *prices in found:
            for checks, said in zip((cost.MILLION, 100 * cost.MILLION), prices):
                calls = cost.authorizer_calls(checks, int(ttl.replace(",", "")))
                self.assertEqual(said, cost.money(cost.check(calls) + cost.traces(calls)), (ttl, checks))

    def test_cost_tables(self):
        for name, lines in cost.tables():
            self.assertIn("\n".join(lines), COST, f"table {name}: run tests/template/cost.py")

    def test_cost_counts_what_the_stack_holds(self):
        stack = Stack(MAIN)
        alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
        own = {f["MetricTransformations"][0]["MetricName"] for f in stack.of_type("AWS::Logs::MetricFilter").values()}
        self.assertEqual((sum(len(metrics(a)) for a in alarms), len(own)), (cost.ALARM_METRICS, cost.OWN_METRICS))
        self.assertEqual(stack["AuthorizerFunction"]["MemorySize"], 1024 * cost.MEMORY_GB)


if __name__ == "__main__":
    unittest.main()
