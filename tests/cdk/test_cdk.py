"""examples/cdk, synthesised, against template.yaml and examples/protected-api/template.yaml.

    python -m unittest discover -s tests/cdk

Needs Node 20 or later, npm and aws-sam-translator (part of aws-sam-cli). `npm ci` aside, no network and no AWS account.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/template"))

from check import as_list, same
from stack import EXAMPLE, MAIN, Stack, routes, yaml_parse

APP = ROOT / "examples/cdk"
KEYS, API = "gaia-api-keys", "protected-api"
BOOTSTRAP = b"#!/bin/sh\n"

# Where the stack of the keys differs from template.yaml: the code's location, the CDK's own version check, and how the
# authorizer's alias is written, which becomes the same in the SAM transform.
DIFFERENCES = {
    "Resources.ApiFunction.Properties.CodeUri",
    "Resources.AuthorizerFunction.Properties.CodeUri",
    "Parameters.BootstrapVersion",
    "Rules.CheckBootstrapVersion",
    "Resources.AuthorizerPermission.Properties.FunctionName",
    "Outputs.AuthorizerArn.Value",
}
# SAM writes these into the OpenAPI bodies of the two APIs.
IN_THE_BODY = {
    "AWS::ApiGateway::Authorizer",
    "AWS::ApiGateway::Method",
    "AWS::ApiGateway::Resource",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
}


def run(*command, **options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    done = subprocess.run(command, cwd=APP, env=environment, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def synth(folder, **context):
    """The templates by stack, from `cdk synth` into a folder."""
    settings = [f"--context={name}={value}" for name, value in context.items()]
    printed = run("npx", "cdk", "synth", "--quiet", "--no-notices", f"--output={folder}", *settings)
    assert "WARNING" not in printed.upper(), printed
    return {name: (folder / f"{name}.template.json").read_text() for name in (KEYS, API)}


class Deployed(Stack):
    """A stack whose references read the same whether SAM or the CDK named the resources."""

    def reference(self, name, attribute=None):
        if name == "AWS::StackName":
            return API
        resource = self.template["Resources"].get(name, {})
        if resource.get("Type", "").endswith("::Stage"):
            return self.resolve(resource["Properties"]["StageName"])
        if (resource.get("Type"), attribute) == ("AWS::ApiGatewayV2::Api", "ApiEndpoint"):
            return f"https://{self.reference(name)}.execute-api.us-east-1.amazonaws.com"
        found = super().reference(name, attribute)
        return found.replace(name, named(name)) if resource else found

    def resolve(self, node):
        match node:
            case {"Fn::ImportValue": name}:  # an ARN, as the CDK takes its parts
                return f"arn:aws:lambda:us-east-1:111122223333:function:<import {self.resolve(name)}>"
            case {"Fn::Split": [separator, text]}:
                return self.resolve(text).split(separator)
            case {"Fn::Select": [index, values]}:
                return self.resolve(values)[index]
        return super().resolve(node)

    def one(self, kind):
        properties, = self.of_type(kind).values()
        return properties


def named(id):
    """A logical ID without the hash that the CDK puts at its end."""
    return re.sub(r"[0-9A-F]{8}$", "", id)


def differences(found, expected, path=""):
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in found.keys() | expected.keys():
            if name in found and name in expected:
                yield from differences(found[name], expected[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}".removeprefix(".")
    elif ".".join(as_list(found)) != ".".join(as_list(expected)) if path.endswith(".Fn::GetAtt") else found != expected:
        if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
            for index, pair in enumerate(zip(found, expected)):
                yield from differences(*pair, f"{path}.{index}")
        else:
            yield path.removeprefix(".")


def within(paths, parents):
    """The parents that hold the paths; a path that none holds stands for itself."""
    return {next((parent for parent in parents if f"{path}.".startswith(f"{parent}.")), path) for path in paths}


def keys_are_the_template(text):
    found = within(differences(json.loads(text), yaml_parse(MAIN)), DIFFERENCES)
    same(found, DIFFERENCES)
    stack, template = Deployed(text), Deployed(MAIN)
    same(stack.outputs, template.outputs)
    same(stack["AuthorizerPermission"], template["AuthorizerPermission"])
    for name in ("ApiFunction", "AuthorizerFunction"):
        code = stack[name]["Code"]
        same(code["S3Bucket"], "cdk-hnb659fds-assets-111122223333-us-east-1")
        assert re.fullmatch(r"[0-9a-f]{64}\.zip", code["S3Key"]), code


def authorizer_of(scheme):
    """What both kinds of API say of an authorizer in an OpenAPI body."""
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    return {
        "type": authorizer["type"].upper(),
        "uri": authorizer["authorizerUri"],
        "seconds": authorizer["authorizerResultTtlInSeconds"],
        "identity": authorizer["identitySource"],
    }


def http_api(stack):
    """Authorizers, and routes with their authorizer and integration, of an HTTP API in an OpenAPI body or in resources."""
    api, = stack.of_type("AWS::ApiGatewayV2::Api").values()
    if "Body" in api:
        return {
            "authorizers": {
                name: authorizer_of(scheme) | {
                    "payload": scheme["x-amazon-apigateway-authorizer"]["authorizerPayloadFormatVersion"],
                    "simple": scheme["x-amazon-apigateway-authorizer"].get("enableSimpleResponses", False),
                }
                for name, scheme in api["Body"]["components"]["securitySchemes"].items()
            },
            "routes": {
                route: (*operation["security"][0], integration["type"], function(integration["uri"]), integration["payloadFormatVersion"])
                for route, operation in routes(api["Body"]).items()
                for integration in [operation["x-amazon-apigateway-integration"]]
            },
        }
    authorizers = {f"<{named(id)}>": a for id, a in stack.of_type("AWS::ApiGatewayV2::Authorizer").items()}
    integrations = {f"integrations/<{named(id)}>": i for id, i in stack.of_type("AWS::ApiGatewayV2::Integration").items()}
    return {
        "authorizers": {
            a["Name"]: {
                "type": a["AuthorizerType"],
                "uri": a["AuthorizerUri"],
                "seconds": a["AuthorizerResultTtlInSeconds"],
                "identity": a["IdentitySource"],
                "payload": a["AuthorizerPayloadFormatVersion"],
                "simple": a["EnableSimpleResponses"],
            }
            for a in authorizers.values()
        },
        "routes": {
            route["RouteKey"]: (
                authorizers[route["AuthorizerId"]]["Name"] if route["AuthorizationType"] == "CUSTOM" else None,
                integration["IntegrationType"].lower(),
                function(integration["IntegrationUri"]),
                integration["PayloadFormatVersion"],
            )
            for route in stack.of_type("AWS::ApiGatewayV2::Route").values()
            for integration in [integrations[route["Target"]]]
        },
    }


def rest_api(stack):
    """The same of a REST API."""
    api, = stack.of_type("AWS::ApiGateway::RestApi").values()
    same(api["EndpointConfiguration"], {"Types": ["REGIONAL"]})
    if "Body" in api:
        return {
            "authorizers": {
                name: authorizer_of(scheme) for name, scheme in api["Body"]["components"]["securitySchemes"].items()
            },
            "routes": {
                route: (*operation["security"][0], integration["type"], integration["httpMethod"], function(integration["uri"]))
                for route, operation in routes(api["Body"]).items()
                for integration in [operation["x-amazon-apigateway-integration"]]
            },
        }
    authorizers = {f"<{named(id)}>": a for id, a in stack.of_type("AWS::ApiGateway::Authorizer").items()}
    paths = {}
    for id, resource in stack.of_type("AWS::ApiGateway::Resource").items():
        same(resource["ParentId"], "<RestApi.RootResourceId>")
        paths[f"<{named(id)}>"] = f"/{resource['PathPart']}"
    return {
        "authorizers": {
            a["Name"]: {
                "type": a["Type"],
                "uri": a["AuthorizerUri"],
                "seconds": a["AuthorizerResultTtlInSeconds"],
                "identity": a["IdentitySource"],
            }
            for a in authorizers.values()
        },
        "routes": {
            f"{method['HttpMethod']} {paths[method['ResourceId']]}": (
                authorizers[method["AuthorizerId"]]["Name"] if method["AuthorizationType"] == "CUSTOM" else None,
                method["Integration"]["Type"].lower(),
                method["Integration"]["IntegrationHttpMethod"],
                function(method["Integration"]["Uri"]),
            )
            for method in stack.of_type("AWS::ApiGateway::Method").values()
        },
    }


def function(uri):
    return re.search(r"<(\w+)\.Arn>(/invocations)?$", uri)[1]


def log(settings):
    return settings["DestinationArn"], json.loads(settings["Format"])


def permission(properties):
    """Who may invoke what. The CDK allows every method of an HTTP API's path, and only the one stage of a REST API."""
    source = r"arn:aws:execute-api:us-east-1:111122223333:<(\w+)>/(?:\*|live)/(?:\*|GET|POST)/items"
    found = re.fullmatch(source, properties["SourceArn"])
    assert found, f"not one path of one API, or not the backend's: {properties}"
    return properties["Action"], properties["FunctionName"].replace(".Arn", ""), properties["Principal"], found[1]


def facts(stack):
    """What the two ways to describe the protected APIs have in common: all that a caller or an operator can notice."""
    http_stage, rest_stage = stack.one("AWS::ApiGatewayV2::Stage"), stack.one("AWS::ApiGateway::Stage")
    setting, = rest_stage["MethodSettings"]
    kept = {name: r.get("DeletionPolicy", "Delete") for name, r in stack.resources.items()}
    return {
        "HTTP API": http_api(stack),
        "REST API": rest_api(stack),
        "HTTP stage": {name: http_stage[name] for name in ("StageName", "AutoDeploy", "DefaultRouteSettings")},
        "HTTP access log": log(http_stage["AccessLogSettings"]),
        "REST stage": {name: rest_stage[name] for name in ("StageName", "TracingEnabled")},
        "REST throttle": {name: value for name, value in setting.items() if name != "DataTraceEnabled" or value},
        "REST access log": log(rest_stage["AccessLogSetting"]),
        "permissions": {permission(p) for p in stack.of_type("AWS::Lambda::Permission").values()},
        "roles": sorted(
            (as_list(statement["Principal"]["Service"]), role["ManagedPolicyArns"], kept[name])
            for name, role in stack.of_type("AWS::IAM::Role").items()
            for statement in role["AssumeRolePolicyDocument"]["Statement"]
        ),
        "REST logging": [kept[name] for name in stack.of_type("AWS::ApiGateway::Account")],
        "log groups": {
            named(name): (group.get("LogGroupName"), group["RetentionInDays"], kept[name])
            for name, group in stack.of_type("AWS::Logs::LogGroup").items()
        },
        "backend": {
            name: value
            for name, value in stack.one("AWS::Lambda::Function").items()
            if name not in ("Description", "Role", "Tags")
        },
        "query": {
            name: value.strip() if name == "QueryString" else value
            for name, value in stack.one("AWS::Logs::QueryDefinition").items()
        },
        "outputs": {name: stack.outputs[name]["Value"] for name in ("HttpApiUrl", "RestApiUrl", "UsageLogGroups")},
    }


def protected_api_is_the_example(text, **parameters):
    stack, example = Deployed(text), Deployed(EXAMPLE, **parameters)
    found, expected = facts(stack), facts(example)
    for name in expected:
        same(found[name], expected[name], name)
    kinds, known = ({r["Type"] for r in s.resources.values()} for s in (stack, example))
    same(kinds ^ known, IN_THE_BODY)
    # What the example says with a stage variable.
    (stage,), accounts = (
        [r for r in stack.resources.items() if r[1]["Type"] == f"AWS::ApiGateway::{kind}"] for kind in ("Stage", "Account")
    )
    same(stage[1].get("DependsOn", []), [name for name, _ in accounts])


# Edits of a template that the checks must notice.
BROKEN = [
    (keys_are_the_template, KEYS, edit)
    for edit in [
        ('"Default": "full"', '"Default": "id"'),
        ('"KEY_DISCLOSURE"', '"DISCLOSURE"'),
        ('"DeletionPolicy": "RetainExceptOnCreate"', '"DeletionPolicy": "Delete"'),
        ('"DashboardUrl"', '"Dashboard"'),
        ('"ApiFunctionRole.Arn"', '"AuthorizerFunctionRole.Arn"'),
        ('"CodeUri"', '"Code"'),
        ("${AuthorizerFunction.Alias}", "${AuthorizerFunction.Arn}"),
        ('"CheckBootstrapVersion"', '"Check"'),
    ]
] + [
    (protected_api_is_the_example, API, edit)
    for edit in [
        ('"AuthorizerPayloadFormatVersion": "2.0"', '"AuthorizerPayloadFormatVersion": "1.0"'),
        ('"EnableSimpleResponses": false', '"EnableSimpleResponses": true'),
        ('"AuthorizerResultTtlInSeconds": 0', '"AuthorizerResultTtlInSeconds": 60'),
        ('"$request.header.Authorization"', '"$request.header.X-Api-Key"'),
        ('"method.request.header.Authorization"', '"method.request.header.Authorization,context.identity.sourceIp"'),
        ("gaia-api-keys-AuthorizerArn", "gaia-api-keys-Authorizer"),
        ('"AuthorizationType": "CUSTOM"', '"AuthorizationType": "NONE"'),
        ('"RouteKey": "GET /items"', '"RouteKey": "ANY /items"'),
        ('"HttpMethod": "POST"', '"HttpMethod": "ANY"'),
        ('"ThrottlingRateLimit": 100', '"ThrottlingRateLimit": 1000'),
        ("$context.authorizer.key_id", "$context.authorizer.principalId"),
        ('"RetentionInDays": 90', '"RetentionInDays": 30'),
        ('"DeletionPolicy": "Retain"', '"DeletionPolicy": "Delete"'),
        ('"StageName": "live"', '"StageName": "prod"'),
        ('"lambda:InvokeFunction"', '"lambda:*"'),
        ("/items", "/*"),
        ("latest(@timestamp)", "earliest(@timestamp)"),
        ('"PayloadFormatVersion": "2.0"', '"PayloadFormatVersion": "1.0"'),
    ]
]


class Cdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        built = cls.folder / "built"
        built.mkdir()
        (built / "bootstrap").write_bytes(BOOTSTRAP)
        cls.defaults = synth(cls.folder / "defaults", artifact=built)

    def test_holds(self):
        keys_are_the_template(self.defaults[KEYS])
        protected_api_is_the_example(self.defaults[API])

    def test_every_check_can_fail(self):
        for check, stack, (old, new) in BROKEN:
            with self.subTest(check.__name__, broken=f"{old} -> {new}"):
                self.assertIn(old, self.defaults[stack])
                with self.assertRaises((AssertionError, AttributeError, KeyError, TypeError, ValueError)):
                    check(self.defaults[stack].replace(old, new))

    def test_the_code_is_the_artifact(self):
        key = Stack(self.defaults[KEYS])["ApiFunction"]["Code"]["S3Key"].removesuffix(".zip")
        source = json.loads((self.folder / f"defaults/{KEYS}.assets.json").read_text())["files"][key]["source"]
        self.assertEqual(source["packaging"], "zip")
        self.assertEqual((self.folder / "defaults" / source["path"] / "bootstrap").read_bytes(), BOOTSTRAP)

    def test_other_settings(self):
        """The zip file of a release, a cache, and an account that has the role for REST APIs' logs."""
        released = self.folder / "released.zip"
        with zipfile.ZipFile(released, "w") as archive:
            archive.writestr("bootstrap", BOOTSTRAP)
        other = synth(self.folder / "other", artifact=released, authorizerCacheSeconds=300, setUpRestApiLogging="false")
        keys_are_the_template(other[KEYS])
        protected_api_is_the_example(other[API], AuthorizerCacheSeconds=300, SetUpRestApiLogging="false")
        key = Stack(other[KEYS])["ApiFunction"]["Code"]["S3Key"].removesuffix(".zip")
        source = json.loads((self.folder / f"other/{KEYS}.assets.json").read_text())["files"][key]["source"]
        self.assertEqual(source["packaging"], "file")
        self.assertEqual((self.folder / "other" / source["path"]).read_bytes(), released.read_bytes())
        # Another authorizer or other code must be deployed: a REST API serves its last deployment, an alias its version.
        for kind, stack in (("AWS::ApiGateway::Deployment", API), ("AWS::Lambda::Version", KEYS)):
            before, after = (set(Deployed(templates[stack]).of_type(kind)) for templates in (self.defaults, other))
            self.assertEqual(before & after, set(), kind)

    def test_the_artifact_is_where_cargo_lambda_puts_it(self):
        settings = json.loads((APP / "cdk.json").read_text())["context"]
        self.assertEqual((APP / settings["artifact"]).resolve(), ROOT / "target/lambda/gaia-api-keys")

    def test_types(self):
        run("npx", "tsc")

    def test_the_lock_names_no_registry(self):
        self.assertNotIn('"resolved"', (APP / "package-lock.json").read_text())


if __name__ == "__main__":
    unittest.main()
