"""The templates as stacks of the emulator, and requests to their APIs.

A test file needs three lines to have both:

    import deployment
    keys = deployment.keys()            # template.yaml
    protected = deployment.protected()  # examples/protected-api/template.yaml
"""

import functools
import http.client
import io
import json
import os
import pathlib
import sys
import time
import unittest
import urllib.parse
import zipfile

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import emulator as emulators
from emulator import ADMINISTRATOR, REGION, ROOT

sys.path += [str(ROOT / "tests/template"), str(ROOT / "tests/docs")]
import stack as templates
from local import blocks

# test_mutations runs other files of this folder on a template that it edited.
for name in ("MAIN", "EXAMPLE"):
    if f"TEST_{name}" in os.environ:
        setattr(templates, name, pathlib.Path(os.environ[f"TEST_{name}"]).read_text())

KEYS = "/es/api/v1/credentials/api_keys"
BINARY = pathlib.Path(os.environ.get("TEST_BINARY") or ROOT / "target/lambda/gaia-api-keys/bootstrap")
SHARED = ("gaia-api-keys", "protected-api")
BUCKET = "bucket"  # as templates.Stack names it

# What the emulator lacks, hence what these tests don't prove: the kind of resource, the property (all of the resource if
# none is named), and the reason.
NOT_EMULATED = [
    ("AWS::CodeDeploy::Application", None, "no CodeDeploy: an alias moves at once, and no alarm rolls back"),
    ("AWS::CodeDeploy::DeploymentGroup", None, "no CodeDeploy"),
    ("AWS::Lambda::Alias", "UpdatePolicy", "no CodeDeploy, which it hands the alias to"),
    ("AWS::Logs::QueryDefinition", None, "no saved queries in its CloudFormation"),
    ("AWS::CloudWatch::CompositeAlarm", None, "no alarms of alarms"),
    ("AWS::CloudWatch::InsightRule", None, "no Contributor Insights"),
    ("AWS::CloudTrail::Trail", None, "no CloudTrail in its CloudFormation"),
    ("AWS::CloudWatch::Alarm", "Metrics", "no metric math: such alarms go whole"),
    ("AWS::ApiGatewayV2::Api", "Body", "no OpenAPI body of HTTP APIs: `routes_of_body` makes resources of it"),
]

# What it takes, but does otherwise than AWS. So these tests don't prove it either:
# - API Gateway writes no access logs: nothing shows `$context.authorizer.key_id` there.
# - The ARN that an authorizer of an HTTP API gets names the request's method and path on `ANY` and `$default` routes too:
#   nothing shows that keys with `routes`, and read keys, are denied there.
# - An authorizer's event has each header once, and a request ID in payload 2.0 only.
# - The stage of an HTTP API has no throttles.
# - Lambda's LoggingConfig names the log group, but its levels don't reach the function.


def for_emulator(template):
    """The template without what the emulator lacks."""
    resources = {}
    for name, resource in template["Resources"].items():
        lacks = [item for kind, item, _ in NOT_EMULATED if kind == resource["Type"]]
        if None in lacks or ("Metrics" in lacks and "Metrics" in resource["Properties"]):
            continue
        resources[name] = {item: value for item, value in resource.items() if item not in lacks}
        if "Body" in lacks and "Body" in resource["Properties"]:
            properties = dict(resource["Properties"])
            resources |= routes_of_body(name, properties.pop("Body"))
            resources[name]["Properties"] = {"ProtocolType": "HTTP"} | properties
    return template | {"Resources": resources}


def routes_of_body(api, body):
    """Routes, integrations and authorizers, as API Gateway makes them of an OpenAPI body."""
    made = {}
    schemes = body.get("components", {}).get("securitySchemes", {})
    for name, scheme in schemes.items():
        if "x-amazon-apigateway-authorizer" in scheme:
            made[f"{api}Authorizer{name}"] = resource_of_authorizer(api, name, scheme["x-amazon-apigateway-authorizer"])
    for number, (route, operation) in enumerate(sorted(templates.routes(body).items())):
        integration = operation["x-amazon-apigateway-integration"]
        made[f"{api}Integration{number}"] = {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": api},
                "IntegrationType": integration["type"].upper(),
                "IntegrationUri": integration["uri"],
                "PayloadFormatVersion": integration["payloadFormatVersion"],
            },
        }
        made[f"{api}Route{number}"] = {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": api},
                "RouteKey": route,
                "Target": {"Fn::Sub": f"integrations/${{{api}Integration{number}}}"},
            } | authorization(api, operation, schemes),
        }
    return made


def authorization(api, operation, schemes):
    if not operation.get("security"):
        return {"AuthorizationType": "NONE"}
    ((name, scopes),) = operation["security"][0].items()
    if name == "NONE":
        return {"AuthorizationType": "NONE"}
    authorizer = schemes[name].get("x-amazon-apigateway-authorizer")
    if authorizer is None:
        assert schemes[name]["x-amazon-apigateway-authtype"] == "awsSigv4", schemes[name]
        return {"AuthorizationType": "AWS_IAM"}
    kind = {"jwt": "JWT", "request": "CUSTOM"}[authorizer["type"]]
    return {
        "AuthorizationType": kind,
        "AuthorizerId": {"Ref": f"{api}Authorizer{name}"},
        "AuthorizationScopes": scopes,
    }


def resource_of_authorizer(api, name, authorizer):
    properties = {"ApiId": {"Ref": api}, "Name": name}
    source = authorizer.get("identitySource", [])
    properties["IdentitySource"] = source if isinstance(source, list) else [source]
    if authorizer["type"] == "jwt":
        configuration = authorizer["jwtConfiguration"]
        properties["AuthorizerType"] = "JWT"
        properties["JwtConfiguration"] = {"Issuer": configuration["issuer"], "Audience": configuration["audience"]}
    else:
        properties["AuthorizerType"] = "REQUEST"
        properties["AuthorizerUri"] = authorizer["authorizerUri"]
        for item in ("authorizerPayloadFormatVersion", "enableSimpleResponses", "authorizerResultTtlInSeconds"):
            if item in authorizer:
                properties[item[0].upper() + item[1:]] = authorizer[item]
    return {"Type": "AWS::ApiGatewayV2::Authorizer", "Properties": properties}


class Failed(Exception):
    """The deployment failed; the stack is as before, or gone."""


class Stack:
    """A stack that exists: its outputs, and the API of the emulator. Unless it is shared, it goes with its test file."""

    def __init__(self, name, text, emulator, **parameters):
        self.name, self.text, self.emulator, self.parameters = name, text, emulator, {}
        self.cloudformation = emulator.client("cloudformation")
        if name not in SHARED:
                unittest.addModuleCleanup(self.delete)
        self.deploy(**parameters)

    def deploy(self, text=None, **parameters):
        """Creates or updates the stack by a change set. Parameters that aren't named keep their values."""
        upload_artifact(self.emulator)
        text, parameters = text or self.text, self.parameters | parameters
        template = for_emulator(templates.Stack(text, **parameters).template)
        key = f"{self.name}.template"
        self.emulator.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(template, default=str).encode())
        change = self.cloudformation.create_change_set(
            StackName=self.name,
            ChangeSetName=f"change{time.time_ns()}",
            ChangeSetType="UPDATE" if self.exists() else "CREATE",
            TemplateURL=f"{self.emulator.url}/{BUCKET}/{key}",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": str(value)} for name, value in parameters.items()],
        )
        self.wait_for_change(change["Id"])
        self.cloudformation.execute_change_set(ChangeSetName=change["Id"])
        self.wait(change["StackId"])
        self.text, self.parameters = text, parameters
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in self.describe()["Outputs"]}

    def exists(self):
        try:
            return self.status() not in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE")
        except self.cloudformation.exceptions.ClientError:
            return False

    def status(self, name=None):
        return self.describe(name)["StackStatus"]

    def describe(self, name=None):
        return self.cloudformation.describe_stacks(StackName=name or self.name)["Stacks"][0]

    def wait_for_change(self, change):
        for _ in range(600):
            found = self.cloudformation.describe_change_set(ChangeSetName=change)
            if found["Status"] == "CREATE_COMPLETE":
                return
            if found["Status"] == "FAILED":
                raise Failed(found["StatusReason"])
            time.sleep(0.05)
        raise Failed(f"the change set is {found['Status']}")

    def wait(self, identifier, done=("CREATE_COMPLETE", "UPDATE_COMPLETE")):
        for _ in range(1200):
            status = self.status(identifier)
            if status in done:
                return
            if not status.endswith("_IN_PROGRESS"):
                raise Failed(f"{status}: {self.reasons(identifier)}")
            time.sleep(0.05)
        raise Failed(f"the stack stays {status}")

    def reasons(self, identifier):
        events = self.cloudformation.describe_stack_events(StackName=identifier)["StackEvents"]
        return [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("_FAILED")
        ]

    def delete(self):
        if not self.exists():
            return
        identifier = self.describe()["StackId"]
        self.cloudformation.delete_stack(StackName=self.name)
        self.wait(identifier, done=("DELETE_COMPLETE",))

    def resource(self, logical_id):
        """The physical ID of a resource."""
        detail = self.cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        return detail["StackResourceDetail"]["PhysicalResourceId"]

    def as_role(self, role, service):
        """A client with a role's credentials. The emulator lets the root user assume what Lambda may assume."""
        arn = self.emulator.client("iam").get_role(RoleName=self.resource(role))["Role"]["Arn"]
        found = self.emulator.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return self.emulator.client(service, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])

    def items(self):
        """The table's items, as boto3's client returns them."""
        return items(self.emulator, self.outputs["TableName"])

    def log(self, output, **fields):
        """The log entries of a log group (the name of its output) that have these fields."""
        logs = self.emulator.client("logs")
        events = logs.filter_log_events(logGroupName=self.outputs[output])["events"]
        entries = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
        return [entry for entry in entries if all(entry.get(name) == value for name, value in fields.items())]

    def local_url(self):
        """The management API's URL for a client that can't be made to connect to the emulator: by path in place of host."""
        return f"{self.emulator.url}/_aws/execute-api/{self.outputs['ApiArn'].split(':')[-1]}/$default"

    def send(self, method, path="", body=None, **options):
        """A request to the management API; the path is below KEYS."""
        return send(self.emulator, self.outputs["ApiUrl"], method, KEYS + path, body, **options)

    def call(self, output, method, body=None, **options):
        """A request, not signed, to the URL in an output, as the clients of a protected API send them."""
        url = self.outputs[output]
        return send(self.emulator, url, method, urllib.parse.urlsplit(url).path, body, caller=None, **options)


def items(emulator, table):
    return emulator.client("dynamodb").scan(TableName=table)["Items"]


class Response:
    def __init__(self, response):
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()
        try:
            self.json = json.loads(self.text)
        except ValueError:
            self.json = None

    def expect(self, status):
        """Its JSON, if it has this status."""
        assert self.status == status, f"{self.status}, not {status}: {self.text}"
        return self.json


def send(emulator, url, method, path, body=None, caller=ADMINISTRATOR, headers=None, change=None):
    """A request to an API of the emulator by its URL in AWS, signed as `caller` (an access key and its secret, or none).

    `change` is called with the signed request (its url, data and headers) before it is sent.
    """
    host = urllib.parse.urlsplit(url).netloc.split(".")[0] + f".execute-api.localhost:{emulator.port}"
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = AWSRequest(method, f"http://{host}{path}", data=body, headers={"host": host} | (headers or {}))
    if body is not None:
        request.headers["content-type"] = "application/json"
    if caller:
        SigV4Auth(Credentials(*caller), "execute-api", REGION).add_auth(request)
    if change:
        change(request)
    connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=60)
    try:
        target = request.url.removeprefix(f"http://{host}")
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if request.data is not None:
            connection.putheader("content-length", str(len(request.data)))
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.data)
        return Response(connection.getresponse())
    finally:
        connection.close()


def failed_start(stack, function):
    """The log entry of a function that can't start. The emulator puts it into its error, and not into the log group."""
    lambdas = stack.emulator.client("lambda")
    result = lambdas.invoke(FunctionName=f"{stack.resource(function)}:live", Payload=b"{}")
    text = json.loads(result["Payload"].read()).get("errorMessage", "")
    entries = [json.loads(line[line.index("{"):]) for line in text.splitlines() if '"start failed"' in line]
    assert result.get("FunctionError") == "Unhandled" and len(entries) == 1, f"not a failed start: {text}"
    return entries[0]


def documented_policies(keys):
    """The IAM policies of docs/deploy.md, for this API: to manage keys, to look only, and to check keys only."""
    documents = [json.loads(block) for block in blocks("docs/deploy.md", "json")]
    manage, look, verify = (document for document in documents if "execute-api" in json.dumps(document))
    example = "arn:aws:execute-api:eu-central-1:111122223333:abc123"
    texts = (json.dumps(policy) for policy in (manage, look, verify))
    return [json.loads(text.replace(example, keys.outputs["ApiArn"])) for text in texts]


def user(emulator, name, *policies):
    """Makes an IAM user with these policies (documents); its access key and secret."""
    iam = emulator.client("iam")
    iam.create_user(UserName=name)
    for number, policy in enumerate(policies):
        iam.put_user_policy(UserName=name, PolicyName=f"policy{number}", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@functools.cache
def artifact():
    if not BINARY.exists():
        raise SystemExit(f"{BINARY} is missing; make it with: cargo lambda build --release --output-format binary")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, BINARY.read_bytes())
    return packed.getvalue()


@functools.cache
def upload_artifact(emulator):
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key="artifact", Body=artifact())


@functools.cache
def keys():
    """template.yaml with its default parameters, in the emulator that all test files share."""
    return Stack(SHARED[0], templates.MAIN, emulators.shared())


@functools.cache
def protected():
    """examples/protected-api/template.yaml beside it."""
    keys()
    return Stack(SHARED[1], templates.EXAMPLE, emulators.shared())
