"""What README.md, docs/deploy.md and docs/cost.md show is what the template and the computation give."""

import fnmatch
import json
import re
import unittest

import cost
from cfnlint.api import lint
from check import HARMLESS_VARIABLES, as_list
from check_api import ROUTES
from check_watching import metrics
from stack import MAIN, ROOT, Stack, apply, log_variables, routes

README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "docs/deploy.md").read_text()
COST = (ROOT / "docs/cost.md").read_text()


class Docs(unittest.TestCase):
    def test_jwt_diff(self):
        diff, = re.findall(r"^```diff\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
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

    def test_json_is_json(self):
        for block in re.findall(r"^```json\n(.*?)^```", DEPLOY, flags=re.MULTILINE | re.DOTALL):
            json.loads(block)

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

    def test_every_parameter_is_described(self):
        for name in Stack(MAIN).parameters:
            self.assertIn(f"`{name}`", DEPLOY)

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
