"""What tests/e2e can't show of template.yaml and examples/protected-api/template.yaml, as the emulator lacks it.

    python -m unittest discover -s tests/template

A check takes a template's text, and comes with edits of that text which it must notice. Needs aws-sam-translator (part of
aws-sam-cli), no network and no AWS account.
"""

import json
import re
import sys
import unittest

import hcl2  # checkov brings it
from stack import EXAMPLE, LOG_GROUP_ARN, MAIN, ROOT, Stack, apply, as_list, log_variables, routes, yaml_parse

sys.path.insert(0, str(ROOT / "docs"))
import tables

CHECKS = []
ACTIONS = json.loads((ROOT / "tests/template/actions.json").read_text())
FUNCTIONS = {"api": "ApiFunction", "authorizer": "AuthorizerFunction"}
LIST = "GET /es/api/v1/credentials/api_keys"
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/"
KEY_IDS = [f"mrk-{n:032}" for n in (1, 2, 3)]
# Everything that a deployment can adopt or set, and what only then exists.
ADOPTED = {
    "ServiceName": "billing",
    "ExistingTableName": "old-table",
    "KmsKeyId": KEY_IDS[0],
    "SecondaryKmsKeyId": KEY_IDS[1],
    "TableKmsKeyArn": KEY_ARN + KEY_IDS[2],
    "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:alarms",
    "KeyDisclosure": "id",
    "KeyHeader": "x-api-key",
    "ReadRoutes": "POST /search/*",
    "SimpleResponses": "true",
    "TrackUsage": "false",
    "UsageLogGroups": "one,two",
}
# Of the access logs' variables, those that hold neither path, query, header nor text made of them.
HARMLESS_VARIABLES = {
    *("authorizer.claims.sub", "authorizer.key_id", "error.responseType", "httpMethod", "identity.sourceIp", "identity.userArn"),
    *("integrationLatency", "requestId", "requestTime", "responseLatency", "responseLength", "routeKey", "status"),
    "resourcePath",  # REST: the route's pattern
}


def check(text, *broken):
    """Registers a check of a template's text; each of `broken` is an edit, old and new, that makes it fail."""

    def register(function):
        CHECKS.append((function, text, broken))
        return function

    return register


def same(found, expected, what=""):
    assert found == expected, f"{what}\n  found:    {found}\n  expected: {expected}"


def statements(role):
    return [s for policy in role.get("Policies", []) for s in policy["PolicyDocument"]["Statement"]]


# ------------------------------------------------------------------------------------------------------------------ APIs


@check(
    MAIN,
    ("          ThrottlingRateLimit: 10\n", "          ThrottlingRateLimit: !Ref ListRate\n"),
    ("          ThrottlingRateLimit: !Ref ListRate\n", ""),
    ("        GET /es/api/v1/credentials/api_keys:\n", "        GET /es/api/v1/credentials/api_keys/:\n"),
)
def throttles(text):
    stack = Stack(text, ThrottleRate=50, ThrottleBurst=60, ListRate=2, ListBurst=3)
    stage = stack["ApiApiGatewayDefaultStage"]
    limits = {"": stage["DefaultRouteSettings"], **stage["RouteSettings"]}
    found = {route: (limit["ThrottlingRateLimit"], limit["ThrottlingBurstLimit"]) for route, limit in limits.items()}
    same(found, {"": (50, 60), LIST: (2, 3), "$default": (10, 20)})
    same(set(stage["RouteSettings"]) - set(routes(stack["Api"]["Body"])), set(), "settings of routes that don't exist")


def access_logs(text):
    """No variable may hold a key."""
    for name, resource in Stack(text).resources.items():
        settings = resource["Properties"].get("AccessLogSettings") or resource["Properties"].get("AccessLogSetting")
        if settings:
            json.loads(settings["Format"])
            assert "\n" not in settings["Format"], name
            same(log_variables(settings["Format"]) - HARMLESS_VARIABLES, set(), name)
            yield settings["Format"]


@check(MAIN, ("$context.routeKey", "$context.path $context.routeKey"), ("$context.error.responseType", "$context.error.message"))
def the_management_apis_access_log(text):
    same(len(list(access_logs(text))), 1)


@check(EXAMPLE, ("$context.authorizer.key_id", "$context.authorizer.principalId"), ("$context.routeKey", "$context.path"))
def the_protected_apis_access_logs_name_the_key(text):
    same([json.loads(format)["key_id"] for format in access_logs(text)], ["$context.authorizer.key_id"] * 2)


@check(EXAMPLE, ("EnableSimpleResponses: false", "EnableSimpleResponses: true"), ("${KeysStack}-AuthorizerArn", "${KeysStack}-Authorizer"))
def both_stacks_fit(text):
    """What the example imports is what template.yaml exports, and the simple-responses settings agree."""
    stack = Stack(text, SetUpRestApiLogging="false")
    exported = Stack(MAIN).outputs["AuthorizerArn"]["Export"]["Name"].replace("keys", stack.parameters["KeysStack"], 1)
    assert f"<import {exported}>" in json.dumps(stack["HttpApi"]["Body"])
    scheme, = stack["HttpApi"]["Body"]["components"]["securitySchemes"].values()
    simple = scheme["x-amazon-apigateway-authorizer"].get("enableSimpleResponses", False)
    same(str(simple).lower(), Stack(MAIN).parameters["SimpleResponses"])


@check(MAIN, ("${AWS::AccountId}:*/authorizers/*", "*:*/authorizers/*"))
def only_this_accounts_apis_ask_the_authorizer(text):
    permission, = (p for p in Stack(text).of_type("AWS::Lambda::Permission").values() if "Authorizer" in p["FunctionName"])
    same(permission["SourceArn"], "arn:aws:execute-api:us-east-1:111122223333:*/authorizers/*")


def routed(routes, method, path):
    """What API Gateway makes of a request: the route, and the values of its path parameters (None if there are none)."""
    for route in sorted(routes - {"$default"}, key=lambda route: "{" in route):
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route))
        if found := re.fullmatch(pattern, f"{method} {path}"):
            return route, found.groupdict() or None
    return "$default", None


@check(
    MAIN,
    ("{api_key}/rotate\" }", "{api_key}/replace\" }"),
    ("/delete/{api_key}\"", "/delete/{key}\""),
    ("Method: POST, Path: /es/api/v1/credentials/api_keys/verify }", "Method: POST, Path: /es/api/v1/credentials/api_keys/check }"),
)
def the_sample_events_carry_the_deployed_routes(text):
    deployed = set(routes(Stack(text)["Api"]["Body"]))
    events = [json.loads(path.read_text()) for folder in ("http-api", "mistakes") for path in (ROOT / "events" / folder).glob("*.json")]
    for event in events:
        expected = routed(deployed, event["requestContext"]["http"]["method"], event["rawPath"])
        same((event["routeKey"], event.get("pathParameters")), expected)
    same({event["routeKey"] for event in events}, deployed, "routes with a sample")


# ------------------------------------------------------------------------------------------------- functions and roles


@check(MAIN, ("        ROOT_KEY: !Ref AWS::NoValue\n", ""))
def sam_local_can_set(text):
    """`sam local` sets only variables that the template names; these must be named, and never have a value."""
    variables = yaml_parse(text)["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("ROOT_KEY", "ALLOW_ANONYMOUS", "AWS_ENDPOINT_URL_DYNAMODB"):
        same(variables.get(name), {"Ref": "AWS::NoValue"}, name)


@check(
    MAIN,
    ("dynamodb:Query", "dynamodb:Scan"),
    ("                    \"Null\":\n                      dynamodb:LeadingKeys: \"false\"\n", ""),
    ("Action: [logs:CreateLogStream, logs:PutLogEvents]", "Action: logs:*"),
    ("- kms:TagResource\n", "- kms:TagResource\n              - kms:CreateGrant\n"),
    ("- kms:TagResource\n", "- kms:TagResource\n              - kms:GenerateMac\n"),
)
def roles(text):
    """The actions are those of actions.json, which the code is held to. tests/e2e tries what the roles allow."""
    stack = Stack(text)
    for function, name in FUNCTIONS.items():
        role = stack[f"{name}Role"]
        same(role.get("ManagedPolicyArns", []), [], "a managed policy may grow")
        actions = [action for statement in statements(role) for action in as_list(statement["Action"])]
        assert not any("*" in action for action in actions), actions
        same({a for a in actions if a.startswith(("dynamodb:", "kms:"))}, set(ACTIONS[function]), name)
        for statement in statements(role):
            if "ForAllValues:StringEquals" in statement.get("Condition", {}):
                # ForAllValues alone is true where a request has no leading key at all.
                same(statement["Condition"].get("Null"), {"dynamodb:LeadingKeys": "false"})
    administer, _ = stack["KmsKey"]["KeyPolicy"]["Statement"]
    for action in administer["Action"]:
        assert not re.search(r"\*|Mac$|Grant$|Sign|Encrypt|Decrypt|Derive", action.replace("RevokeGrant", "")), action


@check(MAIN, ("Timeout: 8", "Timeout: 5"))
def timeouts(text):
    for name in FUNCTIONS.values():
        assert Stack(text)[name]["Timeout"] > 6, "the SDK's attempts take up to 6 s"


@check(
    MAIN,
    ("      AutoPublishAliasAllProperties: true\n", ""),
    (" ${Tracing} ${ReadRoutes}", " ${Tracing}"),
    ("- ${KeyDisclosure} ${TrackUsage}", "- ${KeyDisclosure}"),
    ("${MemorySize} ${Tracing}\n", "${MemorySize}\n"),
    ("- ${KeyDisclosure} ", f"- ${{KeyDisclosure}} {'x' * 40} "),
)
def settings_publish_versions(text):
    """A changed setting must become a new version: the alias would otherwise keep the old one.

    The version's logical id follows the code and the template's text; its description must follow every parameter that
    the function's configuration depends on, as CloudFormation replaces a version whose description changes.
    """
    stack = Stack(text)

    def parameters_of(node):
        """The parameters that a value depends on, through conditions too."""
        if isinstance(node, list):
            return {p for value in node for p in parameters_of(value)}
        if not isinstance(node, dict):
            return set()
        found = {p for value in node.values() for p in parameters_of(value)}
        if "Ref" in node:
            found |= {node["Ref"]}
        if "Fn::If" in node:
            found |= parameters_of(stack.template["Conditions"][node["Fn::If"][0]])
        if "Fn::Sub" in node:
            found |= set(re.findall(r"\$\{([A-Za-z0-9]+)\}", as_list(node["Fn::Sub"])[0]))
        return found & set(stack.parameters)

    for name in FUNCTIONS.values():
        configuration = {k: v for k, v in stack.template["Resources"][name]["Properties"].items() if k not in ("Tags", "Role")}
        version, = (r for n, r in stack.template["Resources"].items() if n.startswith(name + "Version"))
        # Another architecture is other code, and the service's name never changes.
        same(parameters_of(version["Properties"]["Description"]), parameters_of(configuration) - {"Architecture", "ServiceName"}, name)
    # As when the root key is replaced, in a stack with a name of 60 characters: its table's has 20 more.
    long = {"ExistingTableName": "x" * 80, "KmsKeyId": "1" * 36, "SecondaryKmsKeyId": "2" * 36, "ReadRoutes": "x" * 60}
    for parameters in ({}, ADOPTED, long):
        for version in Stack(text, **parameters).of_type("AWS::Lambda::Version").values():
            assert len(version["Description"]) < 256, version["Description"]
    edited = text.replace("KEY_DISCLOSURE: !Ref KeyDisclosure", "KEY_DISCLOSURE: id").replace("Timeout: 8", "Timeout: 9")
    versions = set(stack.of_type("AWS::Lambda::Version"))
    same(versions & set(Stack(edited).of_type("AWS::Lambda::Version")), set(), "versions that did not change")


@check(MAIN, ("Alarms: [!Ref AuthorizerErrorsAlarm, !Ref StartFailedAlarm]", "Alarms: [!Ref StartFailedAlarm]"))
def deployments_roll_back(text):
    stack = Stack(text, DeploymentType="Linear10PercentEvery1Minute")
    groups = stack.of_type("AWS::CodeDeploy::DeploymentGroup")
    same(set(groups), {"ApiFunctionDeploymentGroup", "AuthorizerFunctionDeploymentGroup"})
    for name, group in groups.items():
        same(group["DeploymentConfigName"], "CodeDeployDefault.LambdaLinear10PercentEvery1Minute")
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        alarms = {a["Name"].strip("<>") for a in group["AlarmConfiguration"]["Alarms"]}
        assert {name.replace("FunctionDeploymentGroup", "ErrorsAlarm"), "StartFailedAlarm"} <= alarms, alarms


# ------------------------------------------------------------------------------------------------------------------ data


@check(
    MAIN,
    ("AttributeName: ttl", "AttributeName: expires"),
    ("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false"),
    ("        MaxReadRequestUnits: !Ref MaxReadUnits\n", ""),
)
def table(text):
    table = Stack(text)["Table"]
    same(table["TimeToLiveSpecification"], {"AttributeName": "ttl", "Enabled": True})
    same(table["OnDemandThroughput"], {"MaxReadRequestUnits": 3000, "MaxWriteRequestUnits": 500})
    same(table["PointInTimeRecoverySpecification"], {"PointInTimeRecoveryEnabled": True})
    encrypted = Stack(text, TableKmsKeyArn=KEY_ARN + KEY_IDS[2])["Table"]
    same(encrypted["SSESpecification"], {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN + KEY_IDS[2]})


@check(MAIN, ("Value: !If [CreateTable, !Ref Table, !Ref ExistingTableName]", "Value: !Ref Table"))
def what_is_adopted_is_not_made(text):
    stack = Stack(text, **ADOPTED)  # resolving fails if anything refers to what isn't made
    assert "Table" not in stack.resources and "KmsKey" not in stack.resources


@check(
    MAIN,
    ("Alarms: [!Ref ApiErrorsAlarm, ", "Alarms: [!Ref ServerErrorsAlarm, "),
    (
        "aws:PrincipalArn: !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:role/gaia-api-keys/${ServiceName}/*",
        "aws:PrincipalArn: !GetAtt ApiFunctionRole.Arn",
    ),
    ('Value: !Sub "${ApiFunction}:live"', "Value: !Ref ApiFunction.Alias"),
)
def no_cycles(text):
    """CloudFormation rejects resources that depend on each other in a circle; cfn-lint doesn't find all of them."""
    resources = Stack(text).template["Resources"]

    def referred(node):
        if isinstance(node, str):  # of Fn::Sub, as nothing else holds ${...}
            return set(re.findall(r"\$\{([A-Za-z0-9]+)[.}]", node))
        if isinstance(node, list):
            return {name for value in node for name in referred(value)}
        if not isinstance(node, dict):
            return set()
        found = {name for value in node.values() for name in referred(value)} | set(as_list(node.get("DependsOn", [])))
        found |= {node["Ref"]} if "Ref" in node else set()
        return found | ({node["Fn::GetAtt"][0]} if "Fn::GetAtt" in node else set())

    graph = {name: (referred(resource) & set(resources)) - {name} for name, resource in resources.items()}
    while free := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - free for name, needs in graph.items() if name not in free}
    same(graph, {}, "a circle")


# -------------------------------------------------------------------------------------------------------------- watching


def metrics(alarm):
    queries = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m] or [alarm]
    return [(metric["Namespace"], metric["MetricName"]) for metric in queries]


@check(
    MAIN,
    ("      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    (":live", ":prod"),
    ("Value: TransactWriteItems }", "Value: PutItem }"),
    ("MetricName: KmsKeyEvent, MetricValue", "MetricName: KmsEvent, MetricValue"),
)
def alarms(text):
    silent, loud = Stack(text), Stack(text, **ADOPTED)
    filters = silent.of_type("AWS::Logs::MetricFilter").values()
    own = {(t["MetricNamespace"], t["MetricName"]) for f in filters for t in f["MetricTransformations"]}
    alarms = silent.of_type("AWS::CloudWatch::Alarm")
    watched = {metric for alarm in alarms.values() for metric in metrics(alarm)}
    same({m for m in watched if not m[0].startswith("AWS/")}, own, "metrics of our own without an alarm, or the reverse")
    for name, alarm in alarms.items():
        same(alarm["TreatMissingData"], "notBreaching", name)
        assert "AlarmActions" not in alarm, name
        same(loud[name]["AlarmActions"], [ADOPTED["AlarmTopicArn"]], name)
        for dimension in alarm.get("Dimensions", []):  # an alias's name is written out, so it may be wrong
            if dimension["Name"] == "Resource":
                same(dimension["Value"], f"{alarm['Dimensions'][0]['Value']}:live", name)
    queries = [m["MetricStat"]["Metric"] for m in silent["TableErrorsAlarm"]["Metrics"] if "MetricStat" in m]
    operations = {d["Value"] for metric in queries for d in metric["Dimensions"] if d["Name"] == "Operation"}
    # Keys are put in transactions, which the metric counts as such. PutItem itself is usage only, whose failure fails no
    # request (WARN entry "usage not recorded").
    called = {a.removeprefix("dynamodb:") for a in ACTIONS["api"] if a.startswith("dynamodb:")}
    same(operations, called - {"PutItem"} | {"TransactWriteItems"})


@check(
    MAIN,
    ("eventName: [DisableKey, ", "eventName: ["),
    ("log-group:${KmsEventLogs}", "log-group:${KmsEventLogs}:*"),
    ("Arn: !Sub arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${KmsEventLogs}", "Arn: !GetAtt KmsEventLogs.Arn"),
    ('"${KmsEventLogs.Arn}"', '"${KmsEventLogs}"'),
    ('"ArnEquals": {"aws:SourceArn": "${KmsEventRule.Arn}"}', '"ArnLike": {"aws:SourceArn": "*"}'),
)
def kms_key_is_watched(text):
    for parameters, keys in (({}, [KEY_ARN + "<KmsKey>"]), (ADOPTED, [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]])):
        stack = Stack(text, **parameters)
        rule = stack["KmsEventRule"]
        same(rule["EventPattern"]["detail"]["resources"], {"ARN": keys})
        assert {"DisableKey", "ScheduleKeyDeletion"} <= set(rule["EventPattern"]["detail"]["eventName"])
        # EventBridge delivers nothing to an ARN that ends in `:*`; policies need it.
        same([t["Arn"] for t in rule["Targets"]], [LOG_GROUP_ARN + "<KmsEventLogs>"])
        document = json.loads(stack["KmsEventLogsPolicy"]["PolicyDocument"])["Statement"]
        same({statement["Resource"] for statement in document}, {LOG_GROUP_ARN + "<KmsEventLogs>:*"})
        same(document[1]["Condition"]["ArnEquals"], {"aws:SourceArn": "<KmsEventRule.Arn>"})


@check(MAIN, ('"stat": "p50"}]', '"stat": "p50"]'), ('"y": 12, "width": 24', '"y": 13, "width": 24'))
def dashboard(text):
    for parameters, table in (({}, "<Table>"), (ADOPTED, "old-table")):
        widgets = json.loads(Stack(text, **parameters)["Dashboard"]["DashboardBody"])["widgets"]
        assert f'"{table}"' in json.dumps(widgets)
        covered = [(x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])]
        same(sorted(covered), [(x, y) for x in range(24) for y in range(24)], "a gap, or widgets on top of each other")


@check(MAIN, ("$.message = \"denied\"", "$.message = \"refused\""), ("filter message = \"audit\"", "filter message = \"audited\""))
def what_searches_for_a_message_searches_for_one_of_the_source(text):
    """Metric filters, saved queries and widgets: with another text, an alarm never fires. The documents' commands too."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    texts = [text, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    found = {message for text in texts for message in re.findall(r"""(?:\$\.|filter )message = ["']([^"']+)["']""", text)}
    same({message for message in found if not re.search(rf'"{re.escape(message)}"\s*\)', source)}, set(), "no log entry has it")


class Template(unittest.TestCase):
    def test_holds(self):
        for check, text, _ in CHECKS:
            with self.subTest(check.__name__):
                check(text)
        no_cycles(EXAMPLE)

    def test_every_check_can_fail(self):
        for check, text, broken in CHECKS:
            self.assertNotEqual(broken, (), check.__name__)
            for old, new in broken:
                with self.subTest(check.__name__, broken=f"{old.strip()!r} -> {new.strip()!r}"):
                    self.assertIn(old, text)
                    with self.assertRaises((AssertionError, KeyError, ValueError)):
                        check(text.replace(old, new))

    def test_the_jwt_diff_logs_no_key(self):
        """tests/e2e/test_jwt.py deploys it."""
        diff, = re.findall(r"^```diff\n(.*?)^```", (ROOT / "docs/deploy.md").read_text(), flags=re.MULTILINE | re.DOTALL)
        format, = access_logs(apply(diff, MAIN))
        self.assertIn("authorizer.claims.sub", log_variables(format))

    def test_terraform(self):
        """The files in docs/deploy.md parse, and name outputs and parameters that template.yaml has."""
        files = re.findall(r"^```hcl\n(.*?)^```", (ROOT / "docs/deploy.md").read_text(), flags=re.MULTILINE | re.DOTALL)
        main = Stack(MAIN)
        self.assertLessEqual(set(re.findall(r"\.keys\.outputs\[\"(\w+)\"\]", "".join(files))), set(main.outputs))
        resources = [resource for file in files for resource in hcl2.loads(file)["resource"]]
        keys, = (r["aws_cloudformation_stack"]["keys"] for r in resources if "aws_cloudformation_stack" in r)
        for name, value in keys["parameters"][0].items():
            self.assertIn(value, main.template["Parameters"][name].get("AllowedValues", [value]), name)

    def test_cost_counts_what_the_stack_holds(self):
        stack = Stack(MAIN)
        alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
        own = {f["MetricTransformations"][0]["MetricName"] for f in stack.of_type("AWS::Logs::MetricFilter").values()}
        self.assertEqual((sum(len(metrics(a)) for a in alarms), len(own)), (tables.ALARM_METRICS, tables.OWN_METRICS))


if __name__ == "__main__":
    unittest.main()
