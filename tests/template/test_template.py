"""template.yaml and examples/protected-api/template.yaml, against what the code and the design expect of them.

    python -m unittest discover -s tests/template

Needs aws-sam-translator (part of aws-sam-cli), no network and no AWS account. Each check is a function of a template's
text; BROKEN holds edits that each check must notice.
"""

import fnmatch
import json
import pathlib
import re
import unittest

from stack import EXAMPLE, MAIN, Stack, log_variables, routes, yaml_parse

ACTIONS = json.loads((pathlib.Path(__file__).parent / "actions.json").read_text())

TABLE_ARN = "arn:aws:dynamodb:us-east-1:111122223333:table/"
KEY_ARN = "arn:aws:kms:us-east-1:111122223333:key/"
KEY_IDS = [f"mrk-{n:032}" for n in (1, 2, 3)]
# Everything that a deployment can adopt or set, and what only then exists.
ADOPTED = {
    "ServiceName": "billing",
    "ExistingTableName": "old-table",
    "KmsKeyId": KEY_IDS[0],
    "SecondKmsKeyId": KEY_IDS[1],
    "TableKmsKeyArn": KEY_ARN + KEY_IDS[2],
    "AlarmTopicArn": "arn:aws:sns:us-east-1:111122223333:alarms",
    "KeyDisclosure": "id",
    "KeyHeader": "x-api-key",
    "ReadRoutes": "POST /search/*",
    "SimpleResponses": "true",
    "UsageLogGroups": "one,two",
}
FUNCTIONS = {"api": "ApiFunction", "authorizer": "AuthorizerFunction"}
# What SAM adds to a function's role: write its logs and its traces.
LOGS_AND_XRAY = {
    "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
}
# Of the access logs' variables, those that hold neither path, query, header nor text made of them.
HARMLESS_VARIABLES = {
    "authorizer.claims.sub",
    "authorizer.key_id",
    "error.responseType",
    "httpMethod",
    "identity.sourceIp",
    "identity.userArn",
    "integrationLatency",
    "requestId",
    "requestTime",
    "resourcePath",  # REST: the route's pattern
    "responseLatency",
    "responseLength",
    "routeKey",
    "status",
}
KEYS = "/es/api/v1/credentials/api_keys"
LIST_ROUTES = {f"GET {KEYS}", f"GET {KEYS}/"}
ROUTES = {
    f"{route}{slash}"
    for slash in ("", "/")
    for route in (
        f"GET {KEYS}",
        f"POST {KEYS}",
        f"PUT {KEYS}/{{api_key}}",
        f"DELETE {KEYS}/delete/{{api_key}}",
        f"POST {KEYS}/verify",
    )
} | {"$default"}


def same(found, expected, what=""):
    assert found == expected, f"{what}\n  found:    {found}\n  expected: {expected}"


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements(role):
    return [s for policy in role.get("Policies", []) for s in policy["PolicyDocument"]["Statement"]]


# ---- template.yaml -------------------------------------------------------------------------------------------------


def check_table(text):
    stack = Stack(text)
    table = stack["Table"]
    same(table["KeySchema"], [
        {"AttributeName": "service", "KeyType": "HASH"},
        {"AttributeName": "id", "KeyType": "RANGE"},
    ])
    same({a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}, {"service": "S", "id": "S"})
    same(table["TimeToLiveSpecification"], {"AttributeName": "ttl", "Enabled": True})
    same(table["BillingMode"], "PAY_PER_REQUEST")
    same(table["OnDemandThroughput"], {"MaxReadRequestUnits": 3000, "MaxWriteRequestUnits": 500})
    same(table["PointInTimeRecoverySpecification"], {"PointInTimeRecoveryEnabled": True})
    same(table["DeletionProtectionEnabled"], True)
    assert "SSESpecification" not in table
    with_key = Stack(text, TableKmsKeyArn=KEY_ARN + KEY_IDS[2])["Table"]
    same(with_key["SSESpecification"], {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN + KEY_IDS[2]})


def check_data_outlives_the_stack(text):
    stack = Stack(text)
    for name in ("Table", "MasterKey", "ApiLogs"):
        same(stack.resources[name].get("DeletionPolicy"), "Retain", name)
        same(stack.resources[name].get("UpdateReplacePolicy"), "Retain", name)
    adopted = Stack(text, **ADOPTED)  # resolving fails if anything refers to what isn't made
    assert "Table" not in adopted.resources and "MasterKey" not in adopted.resources
    same(adopted.outputs["TableName"]["Value"], "old-table")
    same(adopted.outputs["KmsKeyId"]["Value"], KEY_IDS[0])


def check_environment(text):
    def environment(stack, function):
        return stack[FUNCTIONS[function]]["Environment"]["Variables"]

    stack = Stack(text)
    common = {"SERVICE_NAME": "gaia", "TABLE_NAME": "<Table>", "KMS_KEY_ID": "<MasterKey>"}
    same(environment(stack, "api"), common | {"FUNCTION": "api", "KEY_DISCLOSURE": "full"})
    same(environment(stack, "authorizer"), common | {
        "FUNCTION": "authorizer", "KEY_HEADER": "authorization", "READ_ROUTES": "", "SIMPLE_RESPONSES": "false",
    })
    stack = Stack(text, **ADOPTED)
    common = {"SERVICE_NAME": "billing", "TABLE_NAME": "old-table", "KMS_KEY_ID": f"{KEY_IDS[0]},{KEY_IDS[1]}"}
    same(environment(stack, "api"), common | {"FUNCTION": "api", "KEY_DISCLOSURE": "id"})
    same(environment(stack, "authorizer"), common | {
        "FUNCTION": "authorizer", "KEY_HEADER": "x-api-key", "READ_ROUTES": "POST /search/*", "SIMPLE_RESPONSES": "true",
    })


def check_sam_local_can_set(text):
    """`sam local` sets only variables that the template names; these must be named, and never have a value."""
    variables = yaml_parse(text)["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("MASTER_KEY", "ALLOW_ANONYMOUS", "AWS_ENDPOINT_URL_DYNAMODB"):
        same(variables.get(name), {"Ref": "AWS::NoValue"}, name)


def check_roles(text):
    """One role a function; its actions are those of actions.json, on the one table's own partitions and the keys."""
    for parameters, service, table, keys in (
        ({}, "gaia", "<Table>", [KEY_ARN + "<MasterKey>"]),
        (ADOPTED, "billing", "old-table", [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]]),
    ):
        stack = Stack(text, **parameters)
        same(set(stack.of_type("AWS::IAM::Role")), {"ApiFunctionRole", "AuthorizerFunctionRole", "CodeDeployServiceRole"})
        for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
            same(stack.of_type(kind), {})
        for function, name in FUNCTIONS.items():
            same(stack[name]["Role"], f"<{name}Role.Arn>")
            role = stack[name + "Role"]
            assert set(role["ManagedPolicyArns"]) <= LOGS_AND_XRAY, role["ManagedPolicyArns"]
            trust, = role["AssumeRolePolicyDocument"]["Statement"]
            same(trust["Principal"], {"Service": ["lambda.amazonaws.com"]})
            same(sorted(a for s in statements(role) for a in as_list(s["Action"])), ACTIONS[function], name)
            partitions = [service, f"{service}#idem"] if function == "api" else [service]
            for statement in statements(role):
                same(statement["Effect"], "Allow")
                if as_list(statement["Action"])[0].startswith("dynamodb:"):
                    same(statement["Resource"], TABLE_ARN + table)
                    same(statement["Condition"], {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": partitions}})
                else:
                    same(statement["Resource"], keys)
                    same(statement["Condition"], {"StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_256"}})


def check_kms_key(text):
    stack = Stack(text)
    key = stack["MasterKey"]
    same((key["KeySpec"], key["KeyUsage"], key["MultiRegion"]), ("HMAC_256", "GENERATE_VERIFY_MAC", True))
    administer, use = key["KeyPolicy"]["Statement"]
    for statement in (administer, use):
        same(statement["Principal"], {"AWS": "arn:aws:iam::111122223333:root"})
    for action in administer["Action"]:
        assert "*" not in action, f"{action} may hold more than it says"
        assert not re.search("Mac$|Grant$|Sign|Encrypt|Decrypt|Derive", action.replace("RevokeGrant", "")), action
    assert "kms:PutKeyPolicy" in administer["Action"], "a key that nobody can administer"
    same(use["Action"], "kms:GenerateMac")
    pattern = "arn:aws:iam::111122223333:role/gaia-api-keys/gaia/*"
    same(use["Condition"], {
        "StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_256"},
        "ArnLike": {"aws:PrincipalArn": pattern},
    })
    for name, role in stack.of_type("AWS::IAM::Role").items():
        arn = f"arn:aws:iam::111122223333:role{role.get('Path', '/')}{name}"
        same(fnmatch.fnmatch(arn, pattern), name in ("ApiFunctionRole", "AuthorizerFunctionRole"), arn)


def check_no_cycles(text):
    """CloudFormation refuses resources that depend on each other in a circle; cfn-lint does not see all of them."""
    resources = Stack(text).template["Resources"]

    def referred(node):
        if isinstance(node, str):  # of Fn::Sub, as nothing else holds ${...}
            return set(re.findall(r"\$\{([A-Za-z0-9]+)[.}]", node))
        if isinstance(node, list):
            return {name for value in node for name in referred(value)}
        if not isinstance(node, dict):
            return set()
        found = {name for value in node.values() for name in referred(value)}
        found |= {node["Ref"]} if "Ref" in node else set()
        found |= {node["Fn::GetAtt"][0]} if "Fn::GetAtt" in node else set()
        return found | set(as_list(node.get("DependsOn", [])))

    graph = {name: (referred(resource) & set(resources)) - {name} for name, resource in resources.items()}
    while free := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - free for name, needs in graph.items() if name not in free}
    same(graph, {}, "a circle")


def check_functions(text):
    source = yaml_parse(text)["Resources"]
    api, authorizer = source["ApiFunction"], source["AuthorizerFunction"]
    same(api["Metadata"], {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "gaia-api-keys"}})
    same(authorizer["Metadata"], api["Metadata"], "unequal, they are built twice")
    stack = Stack(text, Architecture="arm64")
    for name, timeout in (("ApiFunction", 10), ("AuthorizerFunction", 8)):
        function = stack[name]
        same((function["Runtime"], function["Handler"]), ("provided.al2023", "bootstrap"))
        same(function["Architectures"], ["arm64"])
        same(function["TracingConfig"], {"Mode": "Active"})
        same(function["LoggingConfig"]["LogFormat"], "JSON")
        assert 6 < function["Timeout"] == timeout, "the SDK's attempts take up to 6 s"


def check_settings_publish_versions(text):
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
            format = node["Fn::Sub"] if isinstance(node["Fn::Sub"], str) else node["Fn::Sub"][0]
            found |= set(re.findall(r"\$\{([A-Za-z0-9]+)\}", format))
        return found & set(stack.parameters)

    for name in FUNCTIONS.values():
        configuration = {k: v for k, v in stack.template["Resources"][name]["Properties"].items() if k not in ("Tags", "Role")}
        version, = (r for n, r in stack.template["Resources"].items() if n.startswith(name + "Version"))
        # Another architecture is other code.
        same(parameters_of(version["Properties"]["Description"]), parameters_of(configuration) - {"Architecture"}, name)
        for parameters in ({}, ADOPTED):
            description, = (
                v["Description"]
                for v in Stack(text, **parameters).of_type("AWS::Lambda::Version").values()
                if v["FunctionName"] == f"<{name}>"
            )
            assert len(description) < 256, description
    edited = text.replace("KEY_DISCLOSURE: !Ref KeyDisclosure", "KEY_DISCLOSURE: id").replace("Timeout: 8", "Timeout: 9")
    versions = set(stack.of_type("AWS::Lambda::Version"))
    same(versions & set(Stack(edited).of_type("AWS::Lambda::Version")), set(), "versions that did not change")


def check_deployments(text):
    stack = Stack(text, DeploymentType="Linear10PercentEvery1Minute")
    groups = stack.of_type("AWS::CodeDeploy::DeploymentGroup")
    same(set(groups), {"ApiFunctionDeploymentGroup", "AuthorizerFunctionDeploymentGroup"})
    for name, group in groups.items():
        same(group["DeploymentConfigName"], "CodeDeployDefault.LambdaLinear10PercentEvery1Minute")
        assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
        alarms = {a["Name"].strip("<>") for a in group["AlarmConfiguration"]["Alarms"]}
        assert name.replace("FunctionDeploymentGroup", "ErrorsAlarm") in alarms and "StartFailedAlarm" in alarms
        assert alarms <= set(stack.of_type("AWS::CloudWatch::Alarm"))


def check_authorizer_is_exported(text):
    stack = Stack(text)
    same(stack.outputs["AuthorizerArn"], {
        "Description": stack.outputs["AuthorizerArn"]["Description"],
        "Value": "<AuthorizerFunctionAliaslive>",
        "Export": {"Name": "keys-AuthorizerArn"},
    })
    allowed = [p for p in stack.of_type("AWS::Lambda::Permission").values() if "Authorizer" in p["FunctionName"]]
    same(allowed, [{
        "Action": "lambda:InvokeFunction",
        "FunctionName": "<AuthorizerFunctionAliaslive>",
        "Principal": "apigateway.amazonaws.com",
        "SourceArn": "arn:aws:execute-api:us-east-1:111122223333:*/authorizers/*",
    }])


def check_routes(text):
    stack = Stack(text)
    same(set(stack.of_type("AWS::ApiGatewayV2::Api")), {"Api"})
    body = stack["Api"]["Body"]
    same(set(routes(body)), ROUTES)
    for route, operation in routes(body).items():
        same(operation.get("security"), [{"AWS_IAM": []}], route)
        assert "<ApiFunctionAliaslive>" in operation["x-amazon-apigateway-integration"]["uri"], "an unpublished version"
        same(operation["x-amazon-apigateway-integration"]["payloadFormatVersion"], "2.0")
    same(body["components"]["securitySchemes"]["AWS_IAM"]["x-amazon-apigateway-authtype"], "awsSigv4")
    assert "x-amazon-apigateway-cors" not in body and "CorsConfiguration" not in stack["Api"]


def check_throttles(text):
    stage = Stack(text, ThrottleRate=10, ThrottleBurst=20, ListRate=1, ListBurst=2)["ApiApiGatewayDefaultStage"]
    same(stage["DefaultRouteSettings"], {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20})
    same(stage["RouteSettings"], {
        route: {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 2} for route in LIST_ROUTES | {"$default"}
    })


def check_access_log(text):
    stage = Stack(text)["ApiApiGatewayDefaultStage"]
    format = stage["AccessLogSettings"]["Format"]
    assert "routeKey" in json.loads(format)["route"] and "\n" not in format
    same(log_variables(format) - HARMLESS_VARIABLES, set(), "variables that may hold a key")


def check_logs(text):
    stack = Stack(text)
    for name, group in stack.of_type("AWS::Logs::LogGroup").items():
        same(group.get("RetentionInDays"), 90, name)
    same(stack["ApiFunction"]["LoggingConfig"]["LogGroup"], "<ApiLogs>")
    same(stack["AuthorizerFunction"]["LoggingConfig"]["LogGroup"], "<AuthorizerLogs>")
    filters = {
        (f["LogGroupName"].strip("<>"), f["FilterPattern"], f["MetricTransformations"][0]["MetricName"])
        for f in stack.of_type("AWS::Logs::MetricFilter").values()
    }
    same(filters, {
        ("ApiLogs", '{ $.message = "start failed" }', "StartFailed"),
        ("AuthorizerLogs", '{ $.message = "start failed" }', "StartFailed"),
        ("ApiLogs", '{ $.message = "request failed" }', "RequestFailed"),
        ("ApiLogs", '{ $.message = "denied" }', "Denied"),
        ("AuthorizerLogs", '{ $.message = "denied" }', "Denied"),
        ("KmsEventLogs", "{ $.detail.eventName = * }", "KmsKeyEvent"),
    })


def metrics(alarm):
    if "MetricName" in alarm:
        return [(alarm["Namespace"], alarm["MetricName"])]
    return [tuple(m["MetricStat"]["Metric"][k] for k in ("Namespace", "MetricName")) for m in alarm["Metrics"] if "MetricStat" in m]


def check_alarms(text):
    silent, loud = Stack(text), Stack(text, **ADOPTED)
    own = {
        (t["MetricNamespace"], t["MetricName"])
        for f in silent.of_type("AWS::Logs::MetricFilter").values()
        for t in f["MetricTransformations"]
    }
    alarms = silent.of_type("AWS::CloudWatch::Alarm")
    watched = {metric for alarm in alarms.values() for metric in metrics(alarm)}
    same({m for m in watched if m[0].startswith("GaiaApiKeys")}, own, "metrics of our own without an alarm, or the reverse")
    same({m for m in watched if m[0].startswith("AWS/")}, {
        ("AWS/ApiGateway", "5xx"), ("AWS/ApiGateway", "Latency"),
        ("AWS/Lambda", "Errors"), ("AWS/Lambda", "Throttles"), ("AWS/Lambda", "Duration"),
        ("AWS/DynamoDB", "SystemErrors"), ("AWS/DynamoDB", "ReadThrottleEvents"), ("AWS/DynamoDB", "WriteThrottleEvents"),
    })
    for name, alarm in alarms.items():
        same(alarm["TreatMissingData"], "notBreaching", name)
        assert "AlarmActions" not in alarm, name
        same(loud[name]["AlarmActions"], [ADOPTED["AlarmTopicArn"]], name)
        for dimension in alarm.get("Dimensions", []):  # an alias's name is written out, so it may be wrong
            if dimension["Name"] == "Resource":
                same(dimension["Value"], f"{alarm['Dimensions'][0]['Value']}:live", name)
    operations = {d["Value"] for m in silent["TableErrorsAlarm"]["Metrics"] if "MetricStat" in m
                  for d in m["MetricStat"]["Metric"]["Dimensions"] if d["Name"] == "Operation"}
    same(operations, {a.removeprefix("dynamodb:") for a in ACTIONS["api"] if a.startswith("dynamodb:")})


def check_kms_key_is_watched(text):
    for parameters, keys in (({}, [KEY_ARN + "<MasterKey>"]), (ADOPTED, [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]])):
        stack = Stack(text, **parameters)
        rule = stack["KmsEventRule"]
        same(rule["EventPattern"]["detail"]["resources"], {"ARN": keys})
        assert {"DisableKey", "ScheduleKeyDeletion"} <= set(rule["EventPattern"]["detail"]["eventName"])
        same([t["Arn"] for t in rule["Targets"]], ["<KmsEventLogs.Arn>"])
        statement, = json.loads(stack["KmsEventLogsPolicy"]["PolicyDocument"])["Statement"]
        assert "events.amazonaws.com" in statement["Principal"]["Service"] and "logs:PutLogEvents" in statement["Action"]
        same(statement["Resource"], "<KmsEventLogs.Arn>")


def check_dashboard(text):
    for parameters, table in (({}, "<Table>"), (ADOPTED, "old-table")):
        widgets = json.loads(Stack(text, **parameters)["Dashboard"]["DashboardBody"])["widgets"]
        assert f'"{table}"' in json.dumps(widgets)
        assert all({"x", "y", "width", "height", "properties"} <= set(w) for w in widgets)


def check_usage_query(text):
    assert "LogGroupNames" not in Stack(text)["UsageQuery"]
    query = Stack(text, **ADOPTED)["UsageQuery"]
    same(query["LogGroupNames"], ["one", "two"])
    assert "by key_id" in query["QueryString"]


# ---- examples/protected-api/template.yaml --------------------------------------------------------------------------


def check_example(text):
    """Both APIs: every route asks the imported authorizer, by one header; the access log says which key it was."""
    stack = Stack(text, AuthorizerCacheSeconds=300)
    apis = [*stack.of_type("AWS::ApiGatewayV2::Api").values(), *stack.of_type("AWS::ApiGateway::RestApi").values()]
    same(len(apis), 2)
    for api in apis:
        same(set(routes(api["Body"])), {"GET /items", "POST /items"})
        for route, operation in routes(api["Body"]).items():
            same(operation.get("security"), [{"ApiKey": []}], route)
        scheme, = api["Body"]["components"]["securitySchemes"].values()
        authorizer = scheme["x-amazon-apigateway-authorizer"]
        assert "<import gaia-api-keys-AuthorizerArn>" in authorizer["authorizerUri"], authorizer["authorizerUri"]
        same(authorizer["type"], "request")
        same(authorizer["authorizerResultTtlInSeconds"], 300)
        same(as_list(authorizer["identitySource"])[0].lower().replace("method.", "$"), "$request.header.authorization")
        same(len(as_list(authorizer["identitySource"])), 1)
        assert "," not in as_list(authorizer["identitySource"])[0]
    same(Stack(text).parameters["AuthorizerCacheSeconds"], 0)
    stages = [
        *(s["AccessLogSettings"] for s in stack.of_type("AWS::ApiGatewayV2::Stage").values()),
        *(s["AccessLogSetting"] for s in stack.of_type("AWS::ApiGateway::Stage").values()),
    ]
    same(len(stages), 2)
    for log in stages:
        same(json.loads(log["Format"])["key_id"], "$context.authorizer.key_id")
        same(log_variables(log["Format"]) - HARMLESS_VARIABLES, set())
    same([p for p in stack.of_type("AWS::Lambda::Permission").values() if "import" in str(p["FunctionName"])], [])
    Stack(text, SetUpRestApiLogging="false")  # resolves


def check_both_stacks_fit(text):
    """What the example imports is what template.yaml exports, and the simple-responses settings agree."""
    stack = Stack(text)
    exported = Stack(MAIN).outputs["AuthorizerArn"]["Export"]["Name"].replace("keys", stack.parameters["KeysStack"], 1)
    assert f"<import {exported}>" in json.dumps(stack["HttpApi"]["Body"])
    scheme, = stack["HttpApi"]["Body"]["components"]["securitySchemes"].values()
    simple = scheme["x-amazon-apigateway-authorizer"].get("enableSimpleResponses", False)
    same(str(simple).lower(), Stack(MAIN).parameters["SimpleResponses"])


# ---- each check notices what it is for -----------------------------------------------------------------------------

BROKEN = [
    (check_table, "AttributeName: ttl", "AttributeName: expires"),
    (check_table, "{ AttributeName: id, KeyType: RANGE }", "{ AttributeName: service, KeyType: RANGE }"),
    (check_table, "{ AttributeName: id, AttributeType: S }", "{ AttributeName: id, AttributeType: B }"),
    (check_table, "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false"),
    (check_table, "DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false"),
    (check_table, "        MaxReadRequestUnits: !Ref MaxReadUnits\n", ""),
    (check_data_outlives_the_stack, "Condition: CreateKmsKey\n    DeletionPolicy: Retain", "Condition: CreateKmsKey\n    DeletionPolicy: Delete"),
    (check_data_outlives_the_stack, "Value: !If [CreateTable, !Ref Table, !Ref ExistingTableName]", "Value: !Ref Table"),
    (check_environment, "FUNCTION: authorizer", "FUNCTION: api"),
    (check_environment, "          READ_ROUTES: !Ref ReadRoutes\n", ""),
    (check_environment, "AlsoAccepted: !If [HasSecondKmsKey, !Sub \",${SecondKmsKeyId}\", \"\"]", "AlsoAccepted: \"\""),
    (check_environment, "ALLOW_ANONYMOUS: !Ref AWS::NoValue", "ALLOW_ANONYMOUS: \"true\""),
    (check_sam_local_can_set, "        MASTER_KEY: !Ref AWS::NoValue\n", ""),
    (check_roles, "                - dynamodb:Query\n", "                - dynamodb:Query\n                - dynamodb:Scan\n"),
    (check_roles, "                - dynamodb:DeleteItem\n", ""),
    (check_roles, "              Action: dynamodb:GetItem\n", "              Action: dynamodb:*\n"),
    (check_roles, "dynamodb:LeadingKeys: [!Ref ServiceName]", "dynamodb:LeadingKeys: [\"*\"]"),
    (check_roles, "      DeploymentPreference:\n", "        - AmazonDynamoDBReadOnlyAccess\n      DeploymentPreference:\n"),
    (check_kms_key, "              - kms:TagResource\n", "              - kms:TagResource\n              - kms:GenerateMac\n"),
    (check_kms_key, "              - kms:TagResource\n", "              - kms:TagResource\n              - kms:CreateGrant\n"),
    (check_kms_key, "RolePath: !Sub /gaia-api-keys/${ServiceName}/", "RolePath: /"),
    (check_kms_key, "role/gaia-api-keys/${ServiceName}/*", "role/*"),
    (check_no_cycles, "Alarms: [!Ref ApiErrorsAlarm, ", "Alarms: [!Ref ServerErrorsAlarm, "),
    (check_no_cycles, "aws:PrincipalArn: !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:role/gaia-api-keys/${ServiceName}/*", "aws:PrincipalArn: !GetAtt ApiFunctionRole.Arn"),
    (check_no_cycles, 'Value: !Sub "${ApiFunction}:live"', "Value: !Ref ApiFunction.Alias"),
    (check_functions, "Timeout: 8", "Timeout: 5"),
    (check_functions, "        Binary: gaia-api-keys\n    Properties:\n      Description: Lambda", "        Binary: other\n    Properties:\n      Description: Lambda"),
    (check_settings_publish_versions, "      AutoPublishAliasAllProperties: true\n", ""),
    (check_settings_publish_versions, "read=${ReadRoutes} ", ""),
    (check_settings_publish_versions, " ${Tracing}", ""),
    (check_deployments, "Alarms: [!Ref AuthorizerErrorsAlarm, !Ref StartFailedAlarm]", "Alarms: [!Ref StartFailedAlarm]"),
    (check_authorizer_is_exported, "FunctionName: !Ref AuthorizerFunction.Alias", "FunctionName: !Ref AuthorizerFunction"),
    (check_authorizer_is_exported, "${AWS::AccountId}:*/authorizers/*", "*:*/authorizers/*"),
    (check_routes, "        DefaultAuthorizer: AWS_IAM\n", ""),
    (check_routes, "Properties: { ApiId: !Ref Api }", "Properties: { ApiId: !Ref Api, Auth: { Authorizer: NONE } }"),
    (check_routes, "Method: GET, Path: /es/api/v1/credentials/api_keys/ }", "Method: GET, Path: /keys }"),
    (check_throttles, "        $default:\n          ThrottlingRateLimit: !Ref ListRate", "        $default:\n          ThrottlingRateLimit: !Ref ThrottleRate"),
    (check_throttles, "        GET /es/api/v1/credentials/api_keys/:\n          ThrottlingRateLimit: !Ref ListRate\n          ThrottlingBurstLimit: !Ref ListBurst\n", ""),
    (check_access_log, "$context.routeKey", "$context.path $context.routeKey"),
    (check_access_log, "$context.error.responseType", "$context.error.message"),
    (check_logs, '{ $.message = "denied" }', '{ $.msg = "denied" }'),
    (check_logs, "LogGroup: !Ref AuthorizerLogs", "LogGroup: !Ref ApiLogs"),
    (check_alarms, "      TreatMissingData: notBreaching\n", "      TreatMissingData: breaching\n"),
    (check_alarms, ":live", ":prod"),
    (check_alarms, "MetricName: KmsKeyEvent, MetricValue", "MetricName: KmsEvent, MetricValue"),
    (check_kms_key_is_watched, "eventName: [DisableKey, ", "eventName: ["),
    (check_kms_key_is_watched, '"${KmsEventLogs.Arn}"', "${KmsEventLogs.Arn}"),
    (check_dashboard, '"stat": "p50"}]', '"stat": "p50"]'),
    (check_usage_query, "by key_id", "by user"),
    (check_example, "        DefaultAuthorizer: ApiKey\n", ""),
    (check_example, "ReauthorizeEvery: !Ref AuthorizerCacheSeconds", "ReauthorizeEvery: 60"),
    (check_example, "Headers: [Authorization]", "Headers: [Authorization, X-Api-Key]"),
    (check_example, "$context.authorizer.key_id", "$context.authorizer.principalId"),
    (check_example, "Properties: { RestApiId: !Ref RestApi, Method: POST, Path: /items }", "Properties: { RestApiId: !Ref RestApi, Method: POST, Path: /items, Auth: { Authorizer: NONE } }"),
    (check_both_stacks_fit, "EnableSimpleResponses: false", "EnableSimpleResponses: true"),
    (check_both_stacks_fit, "${KeysStack}-AuthorizerArn", "${KeysStack}-Authorizer"),
]
EXAMPLE_CHECKS = {check_example, check_both_stacks_fit}
CHECKS = [check for name, check in globals().items() if name.startswith("check_")]


def text_for(check):
    return EXAMPLE if check in EXAMPLE_CHECKS else MAIN


class Template(unittest.TestCase):
    def test_holds(self):
        for check in CHECKS:
            with self.subTest(check.__name__):
                check(text_for(check))
        check_no_cycles(EXAMPLE)

    def test_every_check_can_fail(self):
        same({check for check, _, _ in BROKEN}, set(CHECKS))
        for check, old, new in BROKEN:
            with self.subTest(check.__name__, broken=f"{old.strip()!r} -> {new.strip()!r}"):
                text = text_for(check)
                self.assertIn(old, text)
                with self.assertRaises((AssertionError, KeyError, ValueError)):
                    check(text.replace(old, new))


if __name__ == "__main__":
    unittest.main()
