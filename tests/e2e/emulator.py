"""An emulator of AWS, as a process and as an account: MiniStack, which checks signatures and evaluates IAM policies."""

import atexit
import contextlib
import functools
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import urllib.parse

import stack as templates
from account import ROOT, Account
from botocore.config import Config
from local import exchange
from stack import yaml_parse

LOGS = ROOT / "target/e2e/logs"
ACCOUNT, REGION = "111122223333", "eu-central-1"
ADMINISTRATOR = ("administrator", "a-secret-of-the-tests")  # the account's root user

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
# - API Gateway invokes any function: no permission (AWS::Lambda::Permission) is missed, nor a role's trust.
# - API Gateway writes no access logs: nothing shows `$context.authorizer.key_id` there.
# - The ARN that an authorizer of an HTTP API gets names the request's method and path on `ANY` and `$default` routes too:
#   nothing shows that keys with `routes`, and read keys, are denied there.
# - An authorizer's event has each header once, and a request ID in payload 2.0 only. All callers have one address.
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
    if "DeploymentType" in template.get("Parameters", {}):  # has an effect, as it has with CodeDeploy
        resources["ApiFunctionRole"]["Properties"]["Description"] = {"Ref": "DeploymentType"}
    return template | {"Resources": resources}


def routes_of_body(api, body):
    """Routes, integrations and authorizers, as API Gateway makes them of an OpenAPI body."""
    made, schemes = {}, body.get("components", {}).get("securitySchemes", {})

    def resource(name, kind, **properties):
        made[f"{api}{name}"] = {"Type": f"AWS::ApiGatewayV2::{kind}", "Properties": {"ApiId": {"Ref": api}} | properties}

    for name, scheme in schemes.items():
        if authorizer := scheme.get("x-amazon-apigateway-authorizer"):
            properties = {key[0].upper() + key[1:]: value for key, value in authorizer.items() if key.startswith("authorizer")}
            sources = templates.as_list(authorizer.get("identitySource", []))
            resource(f"Authorizer{name}", "Authorizer", Name=name, IdentitySource=sources, **properties, **{
                "AuthorizerType": authorizer["type"].upper(),
                "EnableSimpleResponses": authorizer.get("enableSimpleResponses", False),
                "JwtConfiguration": {key.capitalize(): value for key, value in authorizer.get("jwtConfiguration", {}).items()},
            })
    for number, (route, operation) in enumerate(sorted(templates.routes(body).items())):
        integration = operation["x-amazon-apigateway-integration"]
        properties = {"IntegrationUri": integration["uri"], "PayloadFormatVersion": integration["payloadFormatVersion"]}
        resource(f"Integration{number}", "Integration", IntegrationType=integration["type"].upper(), **properties)
        ((name, scopes),) = (operation.get("security") or [{"NONE": []}])[0].items()
        scheme = schemes.get(name, {})
        kind = scheme.get("x-amazon-apigateway-authorizer", {}).get("type")
        if kind:
            authorization = {"AuthorizerId": {"Ref": f"{api}Authorizer{name}"}, "AuthorizationScopes": scopes}
            authorization["AuthorizationType"] = {"jwt": "JWT", "request": "CUSTOM"}[kind]
        else:
            authorization = {"AuthorizationType": "NONE" if name == "NONE" else "AWS_IAM"}
        target = {"Fn::Sub": f"integrations/${{{api}Integration{number}}}"}
        resource(f"Route{number}", "Route", RouteKey=route, Target=target, **authorization)
    return made


class Emulator(Account):
    """`with Emulator("name", REGION) as emulator:` starts one on a free port, and stops it with the functions it runs.

    Its log is target/e2e/logs/<name>.log.
    """

    emulated, pause = True, 0.05
    credentials = ADMINISTRATOR

    def __enter__(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.options = {"endpoint_url": self.url, "config": Config(retries={"total_max_attempts": 1}, read_timeout=120)}
        self.options |= {"aws_access_key_id": ADMINISTRATOR[0], "aws_secret_access_key": ADMINISTRATOR[1]}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AWS_ACCESS_KEY_ID": ADMINISTRATOR[0],
            "AWS_SECRET_ACCESS_KEY": ADMINISTRATOR[1],
            "AWS_ENDPOINT_URL": self.url,  # for the functions
        }
        LOGS.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-B", ROOT / "tests/e2e/completed.py"]
        with open(LOGS / f"{self.name}.log", "w") as log:
            # A session of its own, so that the functions' processes can be stopped with it.
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            self.wait("the emulator", self.listens, 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def listens(self):
        if self.process.poll() is not None:  # another process may have taken the port
            raise SystemExit(f"the emulator did not start; see {LOGS / self.name}.log")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def reset(self):
        """Empties the account."""
        assert exchange(self.address, "POST", "/_ministack/reset", None, {}).status == 200
        vars(self).pop("artifact", None)

    def packaged(self, text, parameters):
        """CloudFormation there knows neither SAM nor all kinds of resources, and no ANY in the body of a REST API."""
        text = super().packaged(text, parameters)
        template = templates.Stack(text, **parameters).template if "\nTransform:" in text else yaml_parse(text)
        return json.dumps(for_emulator(template), default=str).replace("x-amazon-apigateway-any-method", "post")

    def send(self, method, url, body=None, headers=None, credentials=None):
        """A request by its URL in AWS."""
        host = urllib.parse.urlsplit(url).netloc
        headers = (headers or {}) | {"host": f"{host.partition('.')[0]}.execute-api.localhost:{self.port}"}
        return super().send(method, self.url + url.partition(host)[2], body, headers, credentials)


@functools.cache
def shared():
    """The emulator that all test files share; it stops when the tests end, also when they are told to."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    emulator = Emulator(multiprocessing.current_process().name.lower(), REGION).__enter__()
    atexit.register(emulator.__exit__)
    return emulator
