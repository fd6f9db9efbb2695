"""What README.md, docs/deploy.md and docs/cost.md show is what the template and the computation give."""

import fnmatch
import json
import re
import unittest

import cost
import hcl2  # checkov brings it
from cfnlint.api import lint
from check import HARMLESS_VARIABLES, as_list
from check_api import ROUTES
from check_watching import metrics
from stack import EXAMPLE, MAIN, ROOT, Stack, log_variables, routes

README = (ROOT / "README.md").read_text()
DEPLOY = (ROOT / "docs/deploy.md").read_text()
COST = (ROOT / "docs/cost.md").read_text()


def apply(diff, text):
    """A unified diff by its lines alone; each hunk must fit exactly one place."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"fits {text.count(old)} places:\n{hunk}"
        text = text.replace(old, new)
    return text


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

    def test_terraform(self):
        """The files parse, name what template.yaml has, and set the authorizer as the SAM example does."""
        files = re.findall(r"^```hcl\n(.*?)^```", DEPLOY, flags=re.MULTILINE | re.DOTALL)
        text = "".join(files)
        resources = {
            kind: settings
            for file in files
            for resource in hcl2.loads(file)["resource"]
            for kind, by_name in resource.items()
            for settings in by_name.values()
        }
        main, example = Stack(MAIN), Stack(EXAMPLE)
        self.assertEqual(set(re.findall(r"\.keys\.outputs\[\"(\w+)\"\]", text)), {"ApiUrl", "AuthorizerArn"} & set(main.outputs))
        keys = resources["aws_cloudformation_stack"]
        for name, value in keys["parameters"][0].items():
            self.assertIn(value, main.template["Parameters"][name].get("AllowedValues", [value]), name)
        self.assertEqual([role for role in main.of_type("AWS::IAM::Role").values() if "RoleName" in role], [])
        self.assertEqual(keys["capabilities"], [["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]])

        scheme, = example["HttpApi"]["Body"]["components"]["securitySchemes"].values()
        expected = scheme["x-amazon-apigateway-authorizer"]
        authorizer = resources["aws_apigatewayv2_authorizer"]
        self.assertEqual(authorizer["authorizer_type"], [expected["type"].upper()])
        self.assertEqual(authorizer["authorizer_payload_format_version"], [expected["authorizerPayloadFormatVersion"]])
        self.assertEqual(authorizer["enable_simple_responses"], [expected.get("enableSimpleResponses", False)])
        self.assertEqual(authorizer["identity_sources"], [expected["identitySource"]])
        self.assertEqual(authorizer["authorizer_result_ttl_in_seconds"], [expected["authorizerResultTtlInSeconds"]])
        alias = "arn:aws:lambda:us-east-1:111122223333:function:authorizer:live"
        uri = re.search(r'^  authorizer_uri = "(.*)"$', text, flags=re.MULTILINE)[1]
        for name in ("partition", "region"):
            part = re.search(rf'^  {name} += split\(":", local.authorizer\)\[(\d)\]$', text, flags=re.MULTILINE)[1]
            uri = uri.replace(f"${{local.{name}}}", alias.split(":")[int(part)])
        self.assertEqual(
            uri.replace("${local.authorizer}", alias),
            expected["authorizerUri"].replace("<import gaia-api-keys-AuthorizerArn>", alias),
        )

        route = resources["aws_apigatewayv2_route"]
        self.assertEqual(route["authorization_type"], ["CUSTOM"])
        self.assertEqual(set(re.findall(r"'(.+?)'", route["for_each"][0])), set(routes(example["HttpApi"]["Body"])))
        stage, of_example = resources["aws_apigatewayv2_stage"], example["HttpApiApiGatewayDefaultStage"]
        self.assertEqual((stage["name"], stage["auto_deploy"]), ([of_example["StageName"]], [of_example["AutoDeploy"]]))
        self.assertEqual(stage["default_route_settings"], [{
            "throttling_rate_limit": [of_example["DefaultRouteSettings"]["ThrottlingRateLimit"]],
            "throttling_burst_limit": [of_example["DefaultRouteSettings"]["ThrottlingBurstLimit"]],
        }])
        format = dict(re.findall(r'^ +(\w+) += "(\$context\..+)"$', text, flags=re.MULTILINE))
        self.assertEqual(format, json.loads(of_example["AccessLogSettings"]["Format"]))


if __name__ == "__main__":
    unittest.main()
