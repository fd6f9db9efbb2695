"""The two functions: settings, roles, versions, deployments."""

import re
import tomllib

from check import ACTIONS, ADOPTED, KEY_ARN, KEY_IDS, TABLE_ARN, as_list, check, same, statements
from stack import LOG_GROUP_ARN, MAIN, ROOT, Stack, yaml_parse

FUNCTIONS = {"api": "ApiFunction", "authorizer": "AuthorizerFunction"}
LOG_GROUPS = {"api": "ApiLogs", "authorizer": "AuthorizerLogs"}


def on_table(table, actions, partitions):
    return {
        "Effect": "Allow",
        "Action": actions,
        "Resource": TABLE_ARN + table,
        "Condition": {
            # ForAllValues alone is true where a request has no leading key at all.
            "Null": {"dynamodb:LeadingKeys": "false"},
            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": partitions},
        },
    }


@check(
    MAIN,
    ("        RELEASE: 0.1.0\n", ""),
    ("FUNCTION: authorizer", "FUNCTION: api"),
    ("        READ_ROUTES: !Ref ReadRoutes\n", ""),
    ("        TRACK_USAGE: !Ref TrackUsage\n", ""),
    ("Secondary: !If [HasSecondaryKmsKey, !Sub \",${SecondaryKmsKeyId}\", \"\"]", "Secondary: \"\""),
    ("ALLOW_ANONYMOUS: !Ref AWS::NoValue", "ALLOW_ANONYMOUS: \"true\""),
)
def environment(text):
    def variables(stack, function):
        return stack[FUNCTIONS[function]]["Environment"]["Variables"]

    stack = Stack(text)
    # A release that changes nothing but tags would otherwise be an equal function, of which Lambda publishes no version.
    release = {"RELEASE": tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]}
    common = release | {
        "SERVICE_NAME": "gaia", "TABLE_NAME": "<Table>", "KMS_KEY_ID": "<KmsKey>", "READ_ROUTES": "", "TRACK_USAGE": "true",
    }
    same(variables(stack, "api"), common | {"FUNCTION": "api", "KEY_DISCLOSURE": "full"})
    same(variables(stack, "authorizer"), common | {
        "FUNCTION": "authorizer", "KEY_HEADER": "authorization", "SIMPLE_RESPONSES": "false",
    })
    stack = Stack(text, **ADOPTED)
    common = release | {
        "SERVICE_NAME": "billing", "TABLE_NAME": "old-table", "KMS_KEY_ID": f"{KEY_IDS[0]},{KEY_IDS[1]}",
        "READ_ROUTES": "POST /search/*", "TRACK_USAGE": "false",
    }
    same(variables(stack, "api"), common | {"FUNCTION": "api", "KEY_DISCLOSURE": "id"})
    same(variables(stack, "authorizer"), common | {
        "FUNCTION": "authorizer", "KEY_HEADER": "x-api-key", "SIMPLE_RESPONSES": "true",
    })


@check(
    MAIN,
    ("        ROOT_KEY: !Ref AWS::NoValue\n", ""),
)
def sam_local_can_set(text):
    """`sam local` sets only variables that the template names; these must be named, and never have a value."""
    variables = yaml_parse(text)["Globals"]["Function"]["Environment"]["Variables"]
    for name in ("ROOT_KEY", "ALLOW_ANONYMOUS", "AWS_ENDPOINT_URL_DYNAMODB"):
        same(variables.get(name), {"Ref": "AWS::NoValue"}, name)


@check(
    MAIN,
    ("dynamodb:Query", "dynamodb:Scan"),
    (", dynamodb:DeleteItem]", "]"),
    ("              Action: dynamodb:GetItem\n", "              Action: dynamodb:*\n"),
    ("                  Action: dynamodb:PutItem\n", "                  Action: [dynamodb:PutItem, dynamodb:UpdateItem]\n"),
    ("[!Sub \"${ServiceName}#use\"]", "[!Ref ServiceName, !Sub \"${ServiceName}#use\"]"),
    ("[!Ref ServiceName, !Sub \"${ServiceName}#use\"]", "[!Ref ServiceName]"),
    ("                      - !Sub \"${ServiceName}#idem\"\n", ""),
    ("- !If [TracksUsage, !Sub \"${ServiceName}#use\", !Ref AWS::NoValue]", "- !Sub \"${ServiceName}#use\""),
    ("  TracksUsage: !Equals [!Ref TrackUsage, \"true\"]", "  TracksUsage: !Equals [!Ref TrackUsage, !Ref TrackUsage]"),
    ("                    \"Null\": { \"dynamodb:LeadingKeys\": \"false\" }\n", ""),
    ("dynamodb:LeadingKeys: [!Ref ServiceName]", "dynamodb:LeadingKeys: [\"*\"]"),
    ("dynamodb:LeadingKeys: [!Ref ServiceName]", "dynamodb:LeadingKeys: [!Ref ServiceName, !Sub \"${ServiceName}#idem\"]"),
    ("\"dynamodb:LeadingKeys\": \"false\"", "\"dynamodb:LeadingKeys\": \"true\""),
    ("Resource: !GetAtt AuthorizerLogs.Arn", "Resource: !GetAtt ApiLogs.Arn"),
    ("Action: [logs:CreateLogStream, logs:PutLogEvents]", "Action: logs:*"),
    ("Role: !GetAtt AuthorizerFunctionRole.Arn", "Role: !GetAtt ApiFunctionRole.Arn"),
    (
        "      Path: !Sub /gaia-api-keys/${ServiceName}/\n",
        "      Path: !Sub /gaia-api-keys/${ServiceName}/\n      ManagedPolicyArns: [arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]\n",
    ),
)
def roles(text):
    """One role per function. Exactly these statements; the actions are those of actions.json, which the code is held to."""
    two_keys = [KEY_ARN + KEY_IDS[0], KEY_ARN + KEY_IDS[1]]
    for parameters, service, table, keys, tracks in (
        ({}, "gaia", "<Table>", [KEY_ARN + "<KmsKey>"], True),
        (ADOPTED | {"TrackUsage": "true"}, "billing", "old-table", two_keys, True),
        (ADOPTED, "billing", "old-table", two_keys, False),
    ):
        stack = Stack(text, **parameters)
        idem, use = f"{service}#idem", f"{service}#use"
        same(set(stack.of_type("AWS::IAM::Role")), {"ApiFunctionRole", "AuthorizerFunctionRole", "CodeDeployServiceRole"})
        for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
            same(stack.of_type(kind), {})
        own = {
            "api": [
                on_table(table, ["dynamodb:UpdateItem", "dynamodb:DeleteItem"], [service]),
                on_table(table, "dynamodb:Query", [service, use]),
                on_table(table, "dynamodb:GetItem", [service, idem, use]),
                # One statement, as a transaction writes to the first two partitions.
                on_table(table, "dynamodb:PutItem", [service, idem, *[use] * tracks]),
            ],
            # It never writes where keys are, and writes nothing at all without TrackUsage.
            "authorizer": [
                on_table(table, "dynamodb:GetItem", [service]),
                *[on_table(table, "dynamodb:PutItem", [use])] * tracks,
            ],
        }
        for function, name in FUNCTIONS.items():
            same(stack[name]["Role"], f"<{name}Role.Arn>")
            role = stack[name + "Role"]
            same(role.get("ManagedPolicyArns", []), [], "a managed policy may grow")
            trust, = role["AssumeRolePolicyDocument"]["Statement"]
            same((trust["Principal"], trust["Action"]), ({"Service": "lambda.amazonaws.com"}, "sts:AssumeRole"))
            found = statements(role)
            same([{k: v for k, v in s.items() if k != "Sid"} for s in found], own[function] + [
                {
                    "Effect": "Allow",
                    "Action": "kms:GenerateMac",
                    "Resource": keys,
                    "Condition": {"StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_256"}},
                },
                {
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                    "Resource": f"{LOG_GROUP_ARN}<{LOG_GROUPS[function]}>:*",
                },
                {"Effect": "Allow", "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "Resource": "*"},
            ], name)
            called = sorted(a for s in found for a in as_list(s["Action"]) if a.startswith(("dynamodb:", "kms:")))
            unused = {"dynamodb:PutItem"} if function == "authorizer" and not tracks else set()
            same(called, sorted(set(ACTIONS[function]) - unused), name)


@check(
    MAIN,
    ("Timeout: 8", "Timeout: 5"),
    (
        "{ Binary: gaia-api-keys }\n    Properties:\n      Description: Lambda",
        "{ Binary: other }\n    Properties:\n      Description: Lambda",
    ),
)
def functions(text):
    source = yaml_parse(text)["Resources"]
    api, authorizer = source["ApiFunction"], source["AuthorizerFunction"]
    same(api["Metadata"], {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "gaia-api-keys"}})
    same(authorizer["Metadata"], api["Metadata"], "unequal, they are built twice")
    stack = Stack(text)
    for name, timeout in (("ApiFunction", 10), ("AuthorizerFunction", 8)):
        function = stack[name]
        same((function["Runtime"], function["Handler"]), ("provided.al2023", "bootstrap"))
        same(function["TracingConfig"], {"Mode": "PassThrough"})
        assert 6 < function["Timeout"] == timeout, "the SDK's attempts take up to 6 s"


@check(
    MAIN,
    ("      AutoPublishAliasAllProperties: true\n", ""),
    ("    VersionDeletionPolicy: Delete\n", ""),
    (" ${Tracing} ${ReadRoutes}", " ${Tracing}"),
    ("- ${KeyDisclosure} ${TrackUsage}", "- ${KeyDisclosure}"),
    ("          ${KeyHeader} ${SimpleResponses} ${TrackUsage}", "          ${KeyHeader} ${TrackUsage}"),
    ("    MaxLength: 90 ", "    MaxLength: 93 "),
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
            format = node["Fn::Sub"] if isinstance(node["Fn::Sub"], str) else node["Fn::Sub"][0]
            found |= set(re.findall(r"\$\{([A-Za-z0-9]+)\}", format))
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
            "KeyHeader": "x" * 32,
            "SimpleResponses": "false",
            "TrackUsage": "false",
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
    ('Canary10Percent30Minutes: { CodeDeploy: "true" }', 'Canary10Percent30Minutes: { CodeDeploy: "false" }'),
)
def deployments(text):
    """A canary rolls back on alarms. AllAtOnce has no deployment group, whose alarms would stop the fix that ends them."""
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


@check(
    MAIN,
    ("FunctionName: !Ref AuthorizerFunction.Alias", "FunctionName: !Ref AuthorizerFunction"),
    ("${AWS::AccountId}:*/authorizers/*", "*:*/authorizers/*"),
)
def authorizer_is_exported(text):
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
