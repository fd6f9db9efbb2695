"""What tests/e2e can't show of the templates, as the emulator lacks it.

    python -m unittest discover -s tests/template

A check takes a template's text, and comes with edits of that text which it must notice. Needs aws-sam-translator (part of
aws-sam-cli), no network and no AWS account.
"""

import json
import re
import sys
import tomllib
import unittest

from stack import EXAMPLE, LOG_GROUP_ARN, MAIN, MONITORING, ROOT, Stack, as_list, log_variables, monitoring, routes, yaml_parse

sys.path.append(str(ROOT / ".ci"))
from jwt_template import jwt_template

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
    "KeyDisclosure": "id",
    "KeyHeader": "x-api-key",
    "ReadRoutes": "POST /search/*",
    "SimpleResponses": "true",
    "TrackUsage": "false",
    "DefaultUsagePlanKey": "usage-plan-key-of-everybody-else",
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
    ("$default: { ThrottlingRateLimit: 10,", "$default: { ThrottlingRateLimit: 1,"),
    ("api_keys: { ThrottlingRateLimit: 1,", "api_keys: { ThrottlingRateLimit: 100,"),
    ("        GET /es/api/v1/credentials/api_keys: {", "        GET /es/api/v1/credentials/api_keys/: {"),
)
def throttles(text):
    stack = Stack(text, ThrottleRate=50)
    stage = stack["ApiApiGatewayDefaultStage"]
    limits = {"": stage["DefaultRouteSettings"], **stage["RouteSettings"]}
    found = {route: (limit["ThrottlingRateLimit"], limit["ThrottlingBurstLimit"]) for route, limit in limits.items()}
    same(found, {"": (50, 50), LIST: (1, 5), "$default": (10, 20)})
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
    ("                    \"Null\": { \"dynamodb:LeadingKeys\": \"false\" }\n", ""),
    ("Action: [logs:CreateLogStream, logs:PutLogEvents]", "Action: logs:*"),
    ('"kms:TagResource",', '"kms:TagResource", "kms:GenerateMac",'),
    ('"kms:TagResource",', '"kms:TagResource", "kms:CreateGrant",'),
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


@check(MAIN, ("        RELEASE: 0.1.0\n", ""))
def each_release_is_another_function(text):
    """Otherwise Lambda publishes no version of a release that changes nothing but tags and descriptions."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    for name in FUNCTIONS.values():
        same(Stack(text)[name]["Environment"]["Variables"]["RELEASE"], version, name)


@check(
    MAIN,
    ("      AutoPublishAliasAllProperties: true\n", ""),
    ("    VersionDeletionPolicy: Delete\n", ""),
    (" ${Trace} ${ReadRoutes}", " ${Trace}"),
    (" ${ReadRoutes} ${DefaultUsagePlanKey}", " ${ReadRoutes}"),
    ("          ${KeyHeader} ${Simple} ${Usage}", "          ${KeyHeader} ${Usage}"),
    ("Usage: !FindInMap [Letters, !Ref TrackUsage, Letter]", "Usage: u"),
    ("    MaxLength: 80 ", "    MaxLength: 83 "),
    ("- ${KeyDisclosure} ", f"- ${{KeyDisclosure}} {'x' * 60} "),
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
        if isinstance(node.get("Fn::Sub"), list):  # a variable that the text doesn't have changes nothing
            format, variables = node["Fn::Sub"]
            values = [value for name, value in variables.items() if f"${{{name}}}" in format]
            return parameters_of({"Fn::Sub": format}) | parameters_of(values)
        found = {p for value in node.values() for p in parameters_of(value)}
        if "Ref" in node:
            found |= {node["Ref"]}
        if "Fn::If" in node:
            found |= parameters_of(stack.template["Conditions"][node["Fn::If"][0]])
        if "Fn::Sub" in node:
            found |= set(re.findall(r"\$\{([A-Za-z0-9]+)\}", node["Fn::Sub"]))
        return found & set(stack.parameters)

    for name in FUNCTIONS.values():
        configuration = {k: v for k, v in stack.template["Resources"][name]["Properties"].items() if k not in ("Tags", "Role")}
        version, = (r for n, r in stack.template["Resources"].items() if n.startswith(name + "Version"))
        same(parameters_of(version["Properties"]["Description"]), parameters_of(configuration) - {"ServiceName"}, name)
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
        for parameters in ({}, ADOPTED, long):
            description, = (
                v["Description"]
                for v in Stack(text, **parameters).of_type("AWS::Lambda::Version").values()
                if v["FunctionName"] == f"<{name}>"
            )
            assert len(description) <= 256, description
    for name in FUNCTIONS.values():
        version, = (r for n, r in stack.resources.items() if n.startswith(name + "Version"))
        # A version that a rollback left behind would keep Lambda from publishing the same release again.
        same(version["DeletionPolicy"], "Delete", name)
    edited = text.replace("KEY_DISCLOSURE: !Ref KeyDisclosure", "KEY_DISCLOSURE: id").replace("Timeout: 8", "Timeout: 9")
    versions = set(stack.of_type("AWS::Lambda::Version"))
    same(versions & set(Stack(edited).of_type("AWS::Lambda::Version")), set(), "versions that did not change")


@check(
    MAIN,
    ("Alarms: [!Ref AuthorizerErrorsAlarm, !Ref StartFailedAlarm]", "Alarms: [!Ref StartFailedAlarm]"),
    ("        Enabled: !FindInMap [DeploymentTypes, !Ref DeploymentType, CodeDeploy]\n", ""),
    ('AllAtOnce: { CodeDeploy: "false" }', 'AllAtOnce: { CodeDeploy: "true" }'),
    ('Linear10PercentEvery1Minute: { CodeDeploy: "true" }', 'Linear10PercentEvery1Minute: { CodeDeploy: "false" }'),
)
def deployments(text):
    """Traffic moves back on alarms. AllAtOnce has no deployment group, whose alarms would stop the fix that ends them."""
    kinds = Stack(text).template["Parameters"]["DeploymentType"]["AllowedValues"]
    same(len(kinds), 3)
    for kind in kinds:
        stack = Stack(text, DeploymentType=kind)
        for name in FUNCTIONS.values():
            policy = stack.resources[f"{name}Aliaslive"].get("UpdatePolicy")
            same(policy and policy["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"],
                 None if kind == "AllAtOnce" else f"<{name}DeploymentGroup>", kind)
        groups = stack.of_type("AWS::CodeDeploy::DeploymentGroup")
        same(set(groups), set() if kind == "AllAtOnce" else {f"{name}DeploymentGroup" for name in FUNCTIONS.values()}, kind)
        for name, group in groups.items():
            same(group["DeploymentConfigName"], f"CodeDeployDefault.Lambda{kind}")
            assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
            alarms = {a["Name"].strip("<>") for a in group["AlarmConfiguration"]["Alarms"]}
            assert name.replace("FunctionDeploymentGroup", "ErrorsAlarm") in alarms and "StartFailedAlarm" in alarms
            assert alarms <= set(stack.of_type("AWS::CloudWatch::Alarm"))


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
    same(table["OnDemandThroughput"], {"MaxReadRequestUnits": 3000, "MaxWriteRequestUnits": 1000})
    same(table["PointInTimeRecoverySpecification"], {"PointInTimeRecoveryEnabled": True})
    encrypted = Stack(text, TableKmsKeyArn=KEY_ARN + KEY_IDS[2])["Table"]
    same(encrypted["SSESpecification"], {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN + KEY_IDS[2]})


@check(MAIN, ("Value: !If [CreateTable, !Ref Table, !Ref ExistingTableName]", "Value: !Ref Table"))
def what_is_adopted_is_not_made(text):
    stack = Stack(text, **ADOPTED)  # resolving fails if anything refers to what isn't made
    assert "Table" not in stack.resources and "KmsKey" not in stack.resources


@check(
    MAIN,
    ("MetricName: RequestFailed\n", "MetricName: RequestFailed\n              Dimensions: [{ Name: ApiId, Value: !Ref Api }]\n"),
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


GUARDS = ["ApiErrorsAlarm", "RequestFailedAlarm", "AuthorizerErrorsAlarm", "StartFailedAlarm"]


def filters(stack):
    return {
        (f["LogGroupName"].strip("<>"), f["FilterPattern"], *f["MetricTransformations"][0].values())
        for f in stack.of_type("AWS::Logs::MetricFilter").values()
    }


def metrics(alarm):
    """Namespace and name of what an alarm watches."""
    if "MetricName" in alarm:
        return [(alarm["Namespace"], alarm["MetricName"])]
    return [tuple(m["MetricStat"]["Metric"][k] for k in ("Namespace", "MetricName")) for m in alarm["Metrics"] if "MetricStat" in m]


@check(
    MAIN,
    ("LogGroup: !Ref AuthorizerLogs", "LogGroup: !Ref ApiLogs"),
    ("AllowedValues: [60, 90,", "AllowedValues: [30, 60, 90,"),
    ("      SystemLogLevel: WARN\n", "      SystemLogLevel: INFO\n"),
)
def logs(text):
    stack = Stack(text)
    for name, group in stack.of_type("AWS::Logs::LogGroup").items():
        same(group.get("RetentionInDays"), 90, name)
    for function, group in (("ApiFunction", "ApiLogs"), ("AuthorizerFunction", "AuthorizerLogs")):
        same(stack[function]["LoggingConfig"], {
            "LogGroup": f"<{group}>", "LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "WARN",
        })
    # A point in time of a table is up to 35 days ago, and its restore takes the audit log since then.
    assert min(stack.template["Parameters"]["LogRetentionDays"]["AllowedValues"]) >= 35


@check(
    MAIN,
    ("IF(failed >= 3, 100 * failed / requests, 0)", "failed"),
    ("IF(failed >= 3, ", "IF(failed >= 1, "),
    ("100 * failed / requests", "failed / requests"),
    ("      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    ("MetricName: Invocations", "MetricName: Errors"),
    ("${ApiFunction}:live", "${ApiFunction}:prod"),
    ("${AuthorizerFunction}:live", "${ApiFunction}:live"),
    ('{ $.message = "start failed" }', '{ $.msg = "start failed" }'),
    ("      Threshold: 3\n", "      Threshold: 1\n"),
)
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

    def of_alias(function, name):
        dimensions = [{"Name": "FunctionName", "Value": f"<{function}>"}, {"Name": "Resource", "Value": f"<{function}>:live"}]
        return {"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": dimensions}

    failures = {
        "ApiErrorsAlarm": of_alias("ApiFunction", "Errors"),
        "RequestFailedAlarm": {"Namespace": "GaiaApiKeys/keys", "MetricName": "RequestFailed"},
        "AuthorizerErrorsAlarm": of_alias("AuthorizerFunction", "Errors"),
    }
    for name, failed in failures.items():
        function = "AuthorizerFunction" if name.startswith("Authorizer") else "ApiFunction"
        rate, *counts = alarms[name]["Metrics"]
        assert {c["Id"]: c["MetricStat"]["Metric"] for c in counts} == {
            "failed": failed, "requests": of_alias(function, "Invocations"),
        }, name
        for count in counts:
            same((count["MetricStat"]["Stat"], count["MetricStat"]["Period"], count["ReturnData"]), ("Sum", 300, False), name)
        expression = re.sub(r"^IF\((.*), (.*), (.*)\)$", r"(\2) if (\1) else (\3)", rate["Expression"])
        for failed, requests, fires in ((1, 300_000, False), (2, 2, False), (3, 3, True), (30_000, 300_000, True), (30, 300_000, False)):
            value = eval(expression, {"failed": failed, "requests": requests})
            same(value >= alarms[name]["Threshold"], fires, (name, failed, requests))
    start = alarms["StartFailedAlarm"]
    same((start["Statistic"], start["Period"], start["Threshold"]), ("Sum", 300, 3))
    for name, alarm in alarms.items():
        same((alarm["ComparisonOperator"], alarm["EvaluationPeriods"]), ("GreaterThanOrEqualToThreshold", 1), name)
        same(alarm["TreatMissingData"], "notBreaching", name)


@check(
    MAIN,
    ("!Ref ApiLogs, !Ref AuthorizerLogs,", "!Ref AuthorizerLogs, !Ref ApiLogs,"),
    ("!Ref SecondaryKmsKeyId, none]", "!Ref SecondaryKmsKeyId, !Ref AWS::NoValue]"),
)
def what_is_monitored(text):
    """The list that stacks/monitoring.yaml reads. Its order is an interface between two stacks."""
    for parameters, table, keys in (({}, "<Table>", ["<KmsKey>", "none"]), (ADOPTED, "old-table", KEY_IDS[:2])):
        monitored = Stack(text, **parameters)["Monitored"]
        same((monitored["Name"], monitored["Type"]), ("/gaia-api-keys/keys", "StringList"))
        same(monitored["Value"].split(","), [
            "keys", "<Api>", "<ApiFunction>", "<AuthorizerFunction>", "<ApiLogs>", "<AuthorizerLogs>", table, *keys,
            *(f"<{name}>" for name in GUARDS),
        ])


@check(
    MONITORING,
    ("      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    (":live", ":prod"),
    ("Value: TransactWriteItems }", "Value: BatchWriteItem }"),
    ("                - { Name: Operation, Value: PutItem }\n", "                - { Name: Operation, Value: GetItem }\n"),
    ("MetricName: ReadMaxOnDemandThroughputThrottleEvents", "MetricName: ReadKeyRangeThroughputThrottleEvents"),
    ("MetricName: ReadKeyRangeThroughputThrottleEvents", "MetricName: ReadThrottleEvents"),
    ("          MetricName: KmsKeyEvent\n", "          MetricName: KmsEvent\n"),
    ("[!Ref AlarmTopicArn], !Ref AWS::NoValue]", "[!Ref Topic], !Ref AWS::NoValue]"),
    ('OR ALARM("${D}")', 'OR ALARM("${C}")'),
    ("Protocol: email", "Protocol: https"),
    ("Principal: { Service: cloudwatch.amazonaws.com }", "Principal: { Service: events.amazonaws.com }"),
    ("      - Assert: !Equals [!Ref AlarmTopicArn, \"\"]", "      - Assert: !Equals [!Ref AlarmEmail, !Ref AlarmEmail]"),
)
def alarms(text):
    topic = "arn:aws:sns:us-east-1:111122223333:alarms"
    silent, loud = monitoring(text), monitoring(text, AlarmTopicArn=topic)
    mailed = monitoring(text, AlarmEmail="team@example.com")
    own = {(space, name) for _, _, space, name, _ in filters(silent)}
    alarms = silent.of_type("AWS::CloudWatch::Alarm")
    watched = {name: set(metrics(alarm)) for name, alarm in alarms.items()}
    of_service = {metric for found in watched.values() for metric in found if metric[0].startswith("GaiaApiKeys")}
    same(of_service, own, "metrics of our own without an alarm, or the reverse")
    same(own, {("GaiaApiKeys/keys", "Denied"), ("GaiaApiKeys/keys", "KmsKeyEvent")})
    same({name for found in watched.values() for space, name in found if space in ("AWS/Lambda", "AWS/ApiGateway")},
         {"5xx", "Latency", "Throttles", "Duration"})
    # Each alarm of throttled requests has causes of its own, as something else is to be done.
    causes = {name: {m.removeprefix("Read").removeprefix("Write").removesuffix("ThrottleEvents") for _, m in found}
              for name, found in watched.items() if any(m.endswith("ThrottleEvents") for _, m in found)}
    same(causes, {
        "TableThrottlesAlarm": {"MaxOnDemandThroughput", "AccountLimit"},
        "PartitionThrottlesAlarm": {"KeyRangeThroughput"},
    })
    same({name: len(alarms[name]["Metrics"]) - 1 for name in causes}, {"TableThrottlesAlarm": 4, "PartitionThrottlesAlarm": 2})
    for name, alarm in (alarms | silent.of_type("AWS::CloudWatch::CompositeAlarm")).items():
        same(alarm.get("TreatMissingData", "notBreaching"), "notBreaching", name)
        for kind in ("AlarmActions", "OKActions"):
            assert kind not in alarm, name
            same((loud[name][kind], mailed[name][kind]), ([topic], ["<Topic>"]), name)
        for dimension in alarm.get("Dimensions", []):  # an alias's name is written out, so it may be wrong
            if dimension["Name"] == "Resource":
                same(dimension["Value"], f"{alarm['Dimensions'][0]['Value']}:live", name)
    operations = [d["Value"] for m in silent["TableErrorsAlarm"]["Metrics"] if "MetricStat" in m
                  for d in m["MetricStat"]["Metric"]["Dimensions"] if d["Name"] == "Operation"]
    called = {a.removeprefix("dynamodb:") for a in ACTIONS["api"] + ACTIONS["authorizer"] if a.startswith("dynamodb:")}
    same(sorted(operations), sorted(called | {"TransactWriteItems"}))
    same(set(re.findall(r'ALARM\("<(\w+)>"\)', silent["GuardAlarm"]["AlarmRule"])), set(GUARDS))

    assert "Topic" not in silent.resources and "Topic" not in loud.resources
    same(mailed["Subscription"], {"TopicArn": "<Topic>", "Protocol": "email", "Endpoint": "team@example.com"})
    statement, = mailed["TopicPolicy"]["PolicyDocument"]["Statement"]
    same((statement["Principal"], statement["Action"]), ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish"))
    same(statement["Condition"], {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:*"}})
    same([len(s.rejected()) for s in (silent, loud, mailed)], [0, 0, 0])
    same(len(monitoring(text, AlarmTopicArn=topic, AlarmEmail="team@example.com").rejected()), 1)


@check(
    MONITORING,
    ("eventName: [DisableKey, ", "eventName: ["),
    ("log-group:/aws/events/${Stack}/kms\n", "log-group:/aws/events/${Stack}/kms:*\n"),
    ("log-group:/aws/events/${Stack}/kms:*\n", "log-group:/aws/events/${Stack}/kms\n"),
    ("                aws:SourceArn: !GetAtt KmsEventRule.Arn\n", "                aws:SourceArn: \"*\"\n"),
    ("Id: !Select [8, !Ref Monitored]", "Id: !Select [7, !Ref Monitored]"),
    ("LogGroupName: !Sub [\"/aws/events/${Stack}/kms\"", "LogGroupName: !Sub [\"/aws/events/${Stack}/other\""),
)
def kms_key_is_watched(text):
    for parameters, keys in (({}, [KEY_ARN + "<KmsKey>", KEY_ARN + "none"]), (ADOPTED, [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]])):
        stack = monitoring(text, Stack(MAIN, **parameters))
        rule, group = stack["KmsEventRule"], stack["KmsEventLogs"]
        same(rule["EventPattern"]["detail"]["resources"], {"ARN": keys})
        assert {"DisableKey", "ScheduleKeyDeletion"} <= set(rule["EventPattern"]["detail"]["eventName"])
        # EventBridge delivers nothing to an ARN that ends in `:*`; policies need it.
        same([t["Arn"] for t in rule["Targets"]], [LOG_GROUP_ARN + group["LogGroupName"]])
        # Ten policies of AWS::Logs::ResourcePolicy are all that an account and Region may have.
        same(stack.of_type("AWS::Logs::ResourcePolicy"), {})
        common = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
            "Resource": f"{LOG_GROUP_ARN}{group['LogGroupName']}:*",
        }
        same(group["ResourcePolicyDocument"]["Statement"], [
            common | {"Action": "logs:CreateLogStream"},
            common | {"Action": "logs:PutLogEvents", "Condition": {"ArnEquals": {"aws:SourceArn": "<KmsEventRule.Arn>"}}},
        ])


@check(
    MONITORING,
    ('"stat": "p50"}]', '"stat": "p50"]'),
    ('"Operation", "PutItem"', '"Operation", "TransactWriteItems"'),
    ('"y": 12, "width": 24', '"y": 13, "width": 24'),
)
def dashboard(text):
    for parameters, table in (({}, "<Table>"), (ADOPTED, "old-table")):
        widgets = json.loads(monitoring(text, Stack(MAIN, **parameters))["Dashboard"]["DashboardBody"])["widgets"]
        assert f'"{table}"' in json.dumps(widgets)
        covered = [(x, y) for w in widgets for x in range(w["x"], w["x"] + w["width"]) for y in range(w["y"], w["y"] + w["height"])]
        same(sorted(covered), [(x, y) for x in range(24) for y in range(24)], "a gap, or widgets on top of each other")
        in_use, = (w["properties"] for w in widgets if w["properties"]["title"] == "Keys in use per hour")
        # Usage is what is written with PutItem; the metric of the hour counts each key once.
        same(in_use["metrics"][0][:6], [
            "AWS/DynamoDB", "SuccessfulRequestLatency", "TableName", table, "Operation", "PutItem",
        ])
        same((in_use["stat"], in_use["period"]), ("SampleCount", 3600))


@check(
    MONITORING,
    ("by key_id", "by user"),
    ('action = "rotate"', 'action = "rotated"'),
    ('"Keys": ["$.key_id"]', '"Keys": ["$.sourceIp"]'),
    ('"NotIn": ["-"]', '"NotIn": []'),
    ("!Join ['\", \"', !Ref UsageLogGroups]", "!Join [',', !Ref UsageLogGroups]"),
)
def queries(text):
    stack, used = monitoring(text), monitoring(text, UsageLogGroups="one,two")
    for name in ("UsageQuery", "KeysPerDayQuery"):
        assert "LogGroupNames" not in stack[name]
        same(used[name]["LogGroupNames"], ["one", "two"])
    assert "by key_id" in used["UsageQuery"]["QueryString"]
    same(stack["RotationsQuery"]["LogGroupNames"], ["<ApiLogs>"])
    assert stack["RotationsQuery"]["QueryString"].startswith('filter message = "audit" and action = "rotate"\n')
    assert "TopKeys" not in stack.resources
    rule = json.loads(used["TopKeys"]["RuleBody"])
    same((rule["LogGroupNames"], rule["AggregateOn"]), (["one", "two"], "Count"))
    same(rule["Contribution"], {"Keys": ["$.key_id"], "Filters": [{"Match": "$.key_id", "NotIn": ["-"]}]})


@check(MAIN, ("$.message = \"start failed\"", "$.message = \"start fails\""))
@check(MONITORING, ("$.message = \"denied\"", "$.message = \"refused\""), ("filter message = \"audit\"", "filter message = \"audited\""))
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

    def test_the_jwt_template_logs_no_key(self):
        """tests/e2e/test_jwt.py deploys it."""
        format, = access_logs(jwt_template(MAIN))
        self.assertIn("authorizer.claims.sub", log_variables(format))

    def test_terraform(self):
        """What the example sets and reads exists. `just terraform` checks the rest."""
        text = "".join(path.read_text() for path in (ROOT / "examples/terraform").glob("*.tf"))
        self.assertLessEqual(set(re.findall(r"\.keys\.outputs\[\"(\w+)\"\]", text)), set(Stack(MAIN).outputs))
        stacks = re.findall(r'resource "aws_cloudformation_stack" .*?^  parameters = \{\n(.*?)^  \}$', text, flags=re.MULTILINE | re.DOTALL)
        set_by_stack = [set(re.findall(r"^ +(\w+) += ", parameters, flags=re.MULTILINE)) for parameters in stacks]
        self.assertEqual([found - set(stack.parameters) for found, stack in zip(set_by_stack, (Stack(MAIN), monitoring()))], [set(), set()])


if __name__ == "__main__":
    unittest.main()
