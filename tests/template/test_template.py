"""What tests/e2e can't show of the templates, as the emulator lacks it.

    python -m unittest discover -s tests/template

A check takes a template's text; edits.yaml has edits of that text which it must notice. Needs aws-sam-translator (part of
aws-sam-cli), no network and no AWS account.
"""

import graphlib
import json
import pathlib
import re
import sys
import unittest

from stack import EXAMPLE, LOG_GROUP_ARN, MAIN, MONITORING, ROOT, Stack, as_list, monitoring, routes, yaml_parse

sys.path.append(str(ROOT / ".ci"))
from jwt_template import jwt_template

CHECKS = []
ACTIONS = json.loads((ROOT / "tests/template/actions.json").read_text())
EDITS = yaml_parse(pathlib.Path(__file__).with_name("edits.yaml").read_text())
FUNCTIONS = {"api": "ApiFunction", "authorizer": "AuthorizerFunction"}
GUARDS = ["ApiErrorsAlarm", "RequestFailedAlarm", "AuthorizerErrorsAlarm", "StartFailedAlarm"]
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/"
KEY_IDS = [f"mrk-{n:032}" for n in (1, 2)]
ADOPTED = {"ServiceName": "billing", "ExistingTableName": "old-table", "KmsKeyId": KEY_IDS[0], "SecondaryKmsKeyId": KEY_IDS[1]}
# Of the access logs' variables, those that hold neither path, query, header nor text made of them.
HARMLESS_VARIABLES = {
    *("authorizer.claims.sub", "authorizer.key_id", "error.responseType", "httpMethod", "identity.sourceIp", "identity.userArn"),
    *("integrationLatency", "requestId", "requestTime", "responseLatency", "responseLength", "routeKey", "status"),
    "resourcePath",  # REST: the route's pattern
}


def check(*texts):
    """Registers a check of templates' texts."""

    def register(function):
        CHECKS.extend((function, text) for text in texts)
        return function

    return register


def same(found, expected, what=""):
    assert found == expected, f"{what}\n  found:    {found}\n  expected: {expected}"


# ------------------------------------------------------------------------------------------------------------------ APIs


@check(MAIN)
def routes_with_limits_exist(text):
    stack = Stack(text)
    same(set(stack["ApiApiGatewayDefaultStage"]["RouteSettings"]) - set(routes(stack["Api"]["Body"])), set())


@check(MAIN, jwt_template(MAIN), EXAMPLE)
def access_logs(text):
    """They are JSON in one line, without a variable that may hold a key. Those of protected APIs name the key's ID."""
    of_apis = [api for kind in ("AWS::ApiGatewayV2::Stage", "AWS::ApiGateway::Stage") for api in Stack(text).of_type(kind).values()]
    formats = [(api.get("AccessLogSettings") or api["AccessLogSetting"])["Format"] for api in of_apis]
    for format in formats:
        same(set(re.findall(r"\$context\.([A-Za-z0-9_.]+)", format)) - HARMLESS_VARIABLES, set())
        assert "\n" not in format, format
    ids = [json.loads(format).get("key_id") for format in formats]
    assert ids in ([None], ["$context.authorizer.key_id"] * 2), ids


@check(EXAMPLE)
def both_stacks_fit(text):
    """What the example imports is what template.yaml exports, and the simple-responses settings agree."""
    stack = Stack(text, SetUpRestApiLogging="false", KeysStack="keys")
    scheme, = stack["HttpApi"]["Body"]["components"]["securitySchemes"].values()
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    assert f"<import {Stack(MAIN).outputs['AuthorizerArn']['Export']['Name']}>" in authorizer["authorizerUri"], authorizer
    same(str(authorizer.get("enableSimpleResponses", False)).lower(), Stack(MAIN).parameters["SimpleResponses"])


@check(MAIN)
def only_this_accounts_apis_ask_the_authorizer(text):
    stack = Stack(text)
    same(stack["AuthorizerPermission"], {
        "Action": "lambda:InvokeFunction",
        "FunctionName": "<AuthorizerFunctionAliaslive>",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": "arn:aws:execute-api:us-east-1:111122223333:*/authorizers/*",
    })
    same(stack.outputs["AuthorizerArn"]["Value"], "<AuthorizerFunctionAliaslive>")


# ------------------------------------------------------------------------------------------------- functions and roles


@check(MAIN)
def functions(text):
    variables = yaml_parse(text)["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("ROOT_KEY", "ALLOW_ANONYMOUS", "AWS_ENDPOINT_URL_DYNAMODB"):
        # `sam local` sets only variables that the template names; these must never have a value.
        same(variables.get(name), {"Ref": "AWS::NoValue"}, name)
    for name in FUNCTIONS.values():
        function, logs = Stack(text)[name], f"<{name.replace('Function', 'Logs')}>"
        assert function["Timeout"] > 6, "the SDK's attempts take up to 6 s"
        levels = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN"}
        same(function["LoggingConfig"], {"LogGroup": logs} | levels)


@check(MAIN)
def roles(text):
    """The actions are those of actions.json, which the code is held to. tests/e2e tries what the roles allow."""
    stack = Stack(text)
    for function, name in FUNCTIONS.items():
        role = stack[f"{name}Role"]
        trust, = role["AssumeRolePolicyDocument"]["Statement"]
        same(trust["Principal"], {"Service": "lambda.amazonaws.com"})
        same(role.get("ManagedPolicyArns", []), [], "a managed policy may grow")
        statements = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
        actions = [action for statement in statements for action in as_list(statement["Action"])]
        assert not any("*" in action for action in actions), actions
        same({a for a in actions if a.startswith(("dynamodb:", "kms:"))}, set(ACTIONS[function]), name)
        for statement in statements:
            if "ForAllValues:StringEquals" in statement.get("Condition", {}):
                # ForAllValues alone is true where a request has no leading key at all.
                same(statement["Condition"].get("Null"), {"dynamodb:LeadingKeys": "false"})
    administer, _ = stack["KmsKey"]["KeyPolicy"]["Statement"]
    for action in administer["Action"]:
        assert not re.search(r"\*|Mac$|Grant$|Sign|Encrypt|Decrypt|Derive", action.replace("RevokeGrant", "")), action


def parameters_of(node, stack):
    """The parameters that a value depends on, through conditions too."""
    if isinstance(node, list):
        return {name for value in node for name in parameters_of(value, stack)}
    if not isinstance(node, dict):
        return set()
    if isinstance(node.get("Fn::Sub"), list):  # a variable that the text doesn't have changes nothing
        text, variables = node["Fn::Sub"]
        used = [value for name, value in variables.items() if f"${{{name}}}" in text]
        return parameters_of([{"Fn::Sub": text}, *used], stack)
    found = parameters_of(list(node.values()), stack) | {node.get("Ref")}
    if "Fn::If" in node:
        found |= parameters_of(stack.template["Conditions"][node["Fn::If"][0]], stack)
    return (found | set(re.findall(r"\$\{([A-Za-z0-9]+)\}", node.get("Fn::Sub", "")))) & set(stack.parameters)


@check(MAIN)
def settings_publish_versions(text):
    """A changed setting must become a new version: the alias would otherwise keep the old one.

    The version's logical id follows the code and the template's text; its description must follow every parameter that
    the function's configuration depends on, as CloudFormation replaces a version whose description changes.
    """
    stack = Stack(text)
    # The longest settings, while the root key is replaced, beside the name of the default stack's table.
    long = {
        "ExistingTableName": "gaia-api-keys-Table-1234567890ABC",
        "KmsKeyId": "1" * 36,
        "SecondaryKmsKeyId": "2" * 36,
        "KeyHeader": "x" * 20,
        "SimpleResponses": "false",
        "TrackUsage": "false",
        "DefaultUsagePlanKey": "x" * 40,
        "ReadRoutes": "x" * stack.template["Parameters"]["ReadRoutes"]["MaxLength"],
    }
    for name in FUNCTIONS.values():
        configuration = {k: v for k, v in stack.template["Resources"][name]["Properties"].items() if k not in ("Tags", "Role")}
        (logical_id, version), = ((n, r) for n, r in stack.template["Resources"].items() if n.startswith(name + "Version"))
        described = parameters_of(version["Properties"]["Description"], stack)
        same(described, parameters_of(configuration, stack) - {"ServiceName"}, name)
        # A version that a rollback left behind would keep Lambda from publishing the same release again.
        same(version["DeletionPolicy"], "Delete", name)
        description = Stack(text, **long)[logical_id]["Description"]
        assert len(description) <= 256, description
    edited = text.replace("KEY_DISCLOSURE: !Ref KeyDisclosure", "KEY_DISCLOSURE: id").replace("Timeout: 8", "Timeout: 9")
    versions = set(stack.of_type("AWS::Lambda::Version"))
    same(versions & set(Stack(edited).of_type("AWS::Lambda::Version")), set(), "versions that did not change")


@check(MAIN)
def deployments(text):
    """Traffic moves back on alarms. AllAtOnce has no deployment group, whose alarms would stop the fix that ends them."""
    for kind in Stack(text).template["Parameters"]["DeploymentType"]["AllowedValues"]:
        stack = Stack(text, DeploymentType=kind)
        groups = stack.of_type("AWS::CodeDeploy::DeploymentGroup")
        same(set(groups), set() if kind == "AllAtOnce" else {f"{name}DeploymentGroup" for name in FUNCTIONS.values()}, kind)
        for name in FUNCTIONS.values():
            policy = stack.resources[f"{name}Aliaslive"].get("UpdatePolicy")
            same(bool(policy), kind != "AllAtOnce", kind)
            if policy:
                same(policy["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"], f"<{name}DeploymentGroup>")
                group = groups[f"{name}DeploymentGroup"]
                same(group["DeploymentConfigName"], f"CodeDeployDefault.Lambda{kind}")
                assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
                alarms = {alarm["Name"].strip("<>") for alarm in group["AlarmConfiguration"]["Alarms"]}
                assert alarms >= {name.replace("Function", "ErrorsAlarm"), "StartFailedAlarm"}, alarms


# ------------------------------------------------------------------------------------------------------------------ data


@check(MAIN)
def data(text):
    stack = Stack(text, TableKmsKeyArn=KEY_ARN)
    table = stack["Table"]
    same(table["TimeToLiveSpecification"], {"AttributeName": "ttl", "Enabled": True})
    same(table["OnDemandThroughput"], {"MaxReadRequestUnits": 3000, "MaxWriteRequestUnits": 1000})
    same(table["PointInTimeRecoverySpecification"], {"PointInTimeRecoveryEnabled": True})
    same(table["SSESpecification"], {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN})
    same(stack["KmsKey"]["MultiRegion"], True)
    # A point in time of a table is up to 35 days ago, and its restore takes the audit log since then.
    assert min(stack.template["Parameters"]["LogRetentionDays"]["AllowedValues"]) >= 35
    same({group.get("RetentionInDays") for group in stack.of_type("AWS::Logs::LogGroup").values()}, {90})
    adopted = Stack(text, **ADOPTED)  # resolving fails if anything refers to what isn't made
    same({"Table", "KmsKey"} & set(adopted.resources), set())
    same([len(each.rejected()) for each in (adopted, Stack(text, KmsKeyId="x", SecondaryKmsKeyId="x"))], [0, 1])


@check(MAIN, EXAMPLE)
def no_cycles(text):
    """CloudFormation rejects resources that depend on each other in a circle; cfn-lint doesn't find all of them."""

    def referred(node):
        if isinstance(node, str):  # of Fn::Sub, as nothing else holds ${...}
            return set(re.findall(r"\$\{([A-Za-z0-9]+)[.}]", node))
        if isinstance(node, list):
            return {name for value in node for name in referred(value)}
        if not isinstance(node, dict):
            return set()
        named = [node.get("Ref"), node.get("Fn::GetAtt", [None])[0], *as_list(node.get("DependsOn", []))]
        return referred(list(node.values())) | set(named)

    resources = Stack(text).template["Resources"]
    graph = {name: (referred(resource) & set(resources)) - {name} for name, resource in resources.items()}
    graphlib.TopologicalSorter(graph).prepare()


# -------------------------------------------------------------------------------------------------------------- watching


def filters(stack):
    return {
        (f["LogGroupName"].strip("<>"), f["FilterPattern"], *f["MetricTransformations"][0].values())
        for f in stack.of_type("AWS::Logs::MetricFilter").values()
    }


@check(MAIN)
def guards(text):
    """A broken canary fires them at any rate of requests; one failure doesn't."""
    stack = Stack(text)
    same(filters(stack), {
        ("ApiLogs", '{ $.message = "start failed" }', "GaiaApiKeys/keys", "StartFailed", "1"),
        ("AuthorizerLogs", '{ $.message = "start failed" }', "GaiaApiKeys/keys", "StartFailed", "1"),
        ("ApiLogs", '{ $.message = "request failed" }', "GaiaApiKeys/keys", "RequestFailed", "1"),
    })
    alarms = stack.of_type("AWS::CloudWatch::Alarm")
    same(set(alarms), set(GUARDS))
    start = alarms.pop("StartFailedAlarm")
    same([start[name] for name in ("MetricName", "Statistic", "Period", "Threshold")], ["StartFailed", "Sum", 300, 3])
    for name, alarm in alarms.items():
        function = f"{'Authorizer' if name.startswith('Authorizer') else 'Api'}Function"
        dimensions = [{"Name": "FunctionName", "Value": f"<{function}>"}, {"Name": "Resource", "Value": f"<{function}>:live"}]
        of_alias = {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Dimensions": dimensions}
        failed = of_alias if "Errors" in name else {"Namespace": "GaiaApiKeys/keys", "MetricName": "RequestFailed"}
        rate, *counts = alarm["Metrics"]
        same({count["Id"]: count["MetricStat"] for count in counts}, {
            "failed": {"Metric": failed, "Period": 300, "Stat": "Sum"},
            "requests": {"Metric": of_alias | {"MetricName": "Invocations"}, "Period": 300, "Stat": "Sum"},
        })
        expression = re.sub(r"^IF\((.*), (.*), (.*)\)$", r"(\2) if (\1) else (\3)", rate["Expression"])
        for failed, requests, fires in ((1, 300_000, False), (2, 2, False), (3, 3, True), (30_000, 300_000, True), (30, 300_000, False)):
            value = eval(expression, {"failed": failed, "requests": requests})
            same(value >= alarm["Threshold"], fires, (name, failed, requests))
    for name, alarm in (alarms | {"start": start}).items():
        how = [alarm[name] for name in ("ComparisonOperator", "EvaluationPeriods", "TreatMissingData")]
        same(how, ["GreaterThanOrEqualToThreshold", 1, "notBreaching"], name)


@check(MONITORING)
def alarms(text):
    stack = monitoring(text)
    watched = {  # the metrics of each alarm
        name: [alarm] if "MetricName" in alarm else [m["MetricStat"]["Metric"] for m in alarm["Metrics"] if "MetricStat" in m]
        for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items()
    }
    metrics = {(metric["Namespace"], metric["MetricName"]) for found in watched.values() for metric in found}
    own = {metric for metric in metrics if metric[0].startswith("GaiaApiKeys")}
    same(own, {("GaiaApiKeys/keys", "Denied"), ("GaiaApiKeys/keys", "KmsKeyEvent")})
    same({metric[2:4] for metric in filters(stack)}, own, "metrics of our own without an alarm, or the reverse")
    same({name for space, name in metrics if space in ("AWS/Lambda", "AWS/ApiGateway")}, {"5xx", "Latency", "Throttles", "Duration"})
    # Each alarm of throttled requests has causes of its own, as something else is to be done.
    causes = {name: {metric["MetricName"] for metric in watched[name]} for name in ("TableThrottlesAlarm", "PartitionThrottlesAlarm")}
    events = lambda *names: {f"{kind}{name}ThrottleEvents" for kind in ("Read", "Write") for name in names}
    same(causes, {
        "TableThrottlesAlarm": events("MaxOnDemandThroughput", "AccountLimit"),
        "PartitionThrottlesAlarm": events("KeyRangeThroughput"),
    })
    operations = [d["Value"] for metric in watched["TableErrorsAlarm"] for d in metric["Dimensions"] if d["Name"] == "Operation"]
    called = {a.removeprefix("dynamodb:") for a in ACTIONS["api"] + ACTIONS["authorizer"] if a.startswith("dynamodb:")}
    same(sorted(operations), sorted(called | {"TransactWriteItems"}))
    same(set(re.findall(r'ALARM\("<(\w+)>"\)', stack["GuardAlarm"]["AlarmRule"])), set(GUARDS))
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        same(alarm.get("TreatMissingData"), "notBreaching", name)
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", [])}
        if "Resource" in dimensions:  # an alias's name is written out, so it may be wrong
            same(dimensions["Resource"], f"{dimensions['FunctionName']}:live", name)
    topic = "arn:aws:sns:us-east-1:111122223333:alarms"
    for parameters, told in (({}, None), ({"AlarmTopicArn": topic}, [topic]), ({"AlarmEmail": "a@example.com"}, ["<Topic>"])):
        stack = monitoring(text, **parameters)
        same(stack.rejected(), [])
        for name, alarm in (stack.of_type("AWS::CloudWatch::Alarm") | stack.of_type("AWS::CloudWatch::CompositeAlarm")).items():
            same([alarm.get("AlarmActions"), alarm.get("OKActions")], [told, told], name)
    same(len(monitoring(text, AlarmEmail="a@example.com", AlarmTopicArn=topic).rejected()), 1)
    statement, = stack["TopicPolicy"]["PolicyDocument"]["Statement"]  # tests/e2e sees the subscription
    same((statement["Principal"], statement["Action"]), ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish"))


@check(MONITORING)
def kms_key_is_watched(text):
    for parameters, keys in (({}, ["<KmsKey>", "none"]), (ADOPTED, KEY_IDS)):
        stack = monitoring(text, Stack(MAIN, **parameters))
        rule, group = stack["KmsEventRule"], stack["KmsEventLogs"]
        same(rule["EventPattern"]["detail"]["resources"], {"ARN": [KEY_ARN + key for key in keys]})
        assert {"DisableKey", "ScheduleKeyDeletion"} <= set(rule["EventPattern"]["detail"]["eventName"])
        # EventBridge delivers nothing to an ARN that ends in `:*`; policies need it.
        same([t["Arn"] for t in rule["Targets"]], [LOG_GROUP_ARN + group["LogGroupName"]])
        # Ten policies of AWS::Logs::ResourcePolicy are all that an account and Region may have.
        same(stack.of_type("AWS::Logs::ResourcePolicy"), {})
        create, put = group["ResourcePolicyDocument"]["Statement"]
        same(create.pop("Action"), "logs:CreateLogStream")
        same(put.pop("Condition"), {"ArnEquals": {"aws:SourceArn": "<KmsEventRule.Arn>"}})
        same(create, {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
            "Resource": f"{LOG_GROUP_ARN}{group['LogGroupName']}:*",
        })
        same(put, create | {"Action": "logs:PutLogEvents"})


@check(MONITORING)
def dashboard_and_queries(text):
    assert "TopKeys" not in monitoring(text).resources
    stack = monitoring(text, UsageLogGroups="one,two")
    widgets = json.loads(stack["Dashboard"]["DashboardBody"])["widgets"]
    in_use, = (w["properties"] for w in widgets if w["properties"]["title"] == "Keys in use per hour")
    # Usage is what is written with PutItem; the metric of the hour counts each key once.
    same(in_use["metrics"][0][:6], ["AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", "<Table>", "Operation", "PutItem"])
    same((in_use["stat"], in_use["period"]), ("SampleCount", 3600))
    rule = json.loads(stack["TopKeys"]["RuleBody"])
    for found in (stack["UsageQuery"], stack["KeysPerDayQuery"], rule):
        same(found["LogGroupNames"], ["one", "two"])
    same(rule["Contribution"], {"Keys": ["$.key_id"], "Filters": [{"Match": "$.key_id", "NotIn": ["-"]}]})


@check(MAIN + MONITORING)
def what_is_searched_for_is_logged(text):
    """Metric filters, saved queries and widgets: with another text, an alarm never fires. The documents' commands too."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    text += "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    found = set(re.findall(r"""(?:\$\.|filter )message = ["']([^"']+)["']""", text))
    same({message for message in found if not re.search(rf'"{re.escape(message)}"\s*\)', source)}, set(), "no log entry has it")


class Template(unittest.TestCase):
    def test_holds(self):
        for check, text in CHECKS:
            with self.subTest(check.__name__):
                check(text)

    def test_every_check_can_fail(self):
        texts = {check.__name__: (check, text) for check, text in reversed(CHECKS)}
        self.assertEqual(set(EDITS), set(texts))
        for name, edits in EDITS.items():
            check, text = texts[name]
            for old, new in edits:
                with self.subTest(name, broken=f"{old.strip()!r} -> {new.strip()!r}"):
                    self.assertIn(old, text)
                    with self.assertRaises((AssertionError, KeyError, ValueError)):
                        check(text.replace(old, new))

    def test_terraform(self):
        """What the example sets and reads exists. `just terraform` checks the rest."""
        text = "".join(path.read_text() for path in (ROOT / "examples/terraform").glob("*.tf"))
        self.assertLessEqual(set(re.findall(r"\.keys\.outputs\[\"(\w+)\"\]", text)), set(Stack(MAIN).outputs))
        stacks = re.findall(r'resource "aws_cloudformation_stack" .*?^  parameters = \{\n(.*?)^  \}$', text, flags=re.MULTILINE | re.DOTALL)
        for parameters, stack in zip(stacks, (Stack(MAIN), monitoring()), strict=True):
            self.assertLessEqual(set(re.findall(r"^ +(\w+) += ", parameters, flags=re.MULTILINE)), set(stack.parameters))


if __name__ == "__main__":
    unittest.main()
