"""The Terraform files in docs/deploy.md, against template.yaml and the SAM example."""

import json
import re
import unittest

import hcl2  # checkov brings it
from stack import EXAMPLE, MAIN, ROOT, Stack, routes

DEPLOY = (ROOT / "docs/deploy.md").read_text()


class Terraform(unittest.TestCase):
    def test_files(self):
        """They parse, name what template.yaml has, and set the authorizer as the SAM example does."""
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
        self.assertEqual(set(re.findall(r"\.keys\.outputs\[\"(\w+)\"\]", text)), {"ApiUrl", "AuthorizerArn", "TableName", "KmsKeyId"} & set(main.outputs))
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
