"""An AWS account and Region: stacks, requests to their APIs, and the removal of all that was made.

tests/e2e has the same for an emulator.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import pathlib
import sys
import time
import zipfile

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TEST_BINARY") or ROOT / "target/lambda/gaia-api-keys/bootstrap")
KEYS = "/es/api/v1/credentials/api_keys"
DENIED = "denied"  # the policy with which a question takes a permission from a function


class Failed(Exception):
    """A deployment failed. `status` is the stack's; it is as before, or was never created."""

    def __init__(self, status, reasons):
        super().__init__(f"{status}: {'; '.join(reasons)}")
        self.status = status


class Response:
    def __init__(self, response):
        self.status, self.headers, self.text = response.status_code, response.headers, response.text

    @property
    def json(self):
        return json.loads(self.text)

    def expect(self, status):
        """Its JSON, if it has this status."""
        assert self.status == status, f"{self.status}, not {status}: {self.text}"
        return self.json


def code_of(error):
    return error.response["Error"]["Code"]


def document(action, effect="Deny", resource="*"):
    """An IAM policy with one statement."""
    statement = {"Effect": effect, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Account:
    """`name` is the name of the keys' stack and of its service, and begins every other name."""

    emulated = False
    pause = 5.0  # seconds between two looks at something that takes time
    options = {}  # of every client

    def __init__(self, name, region):
        self.name, self.region = name, region
        if not BINARY.exists():
            raise SystemExit(f"{BINARY} is missing; make it with: cargo lambda build --release --output-format binary")
        self.stacks = [name, f"{name}-monitoring", f"{name}-protected", f"{name}-probe"]

    @functools.cache
    def client(self, service, *credentials):
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return boto3.client(service, region_name=self.region, **self.options | dict(zip(names, credentials)))

    @property
    def credentials(self):
        """Those of the caller."""
        return boto3.Session().get_credentials().get_frozen_credentials()

    @functools.cached_property
    def caller(self):
        return self.client("sts").get_caller_identity()

    @property
    def bucket(self):
        return f"{self.name}-{self.caller['Account']}"

    def wait(self, what, probe, seconds=300):
        """What `probe` returns as soon as that is true. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while not (found := probe()):
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s")
            time.sleep(self.pause)
        return found

    def upload(self, key, content):
        s3 = self.client("s3")
        where = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=self.bucket, **where)
        s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    @functools.cached_property
    def artifact(self):
        """Where the functions' code is, uploaded."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, BINARY.read_bytes())
        key = f"{hashlib.sha256(packed.getvalue()).hexdigest()}.zip"
        self.upload(key, packed.getvalue())
        return f"s3://{self.bucket}/{key}"

    def packaged(self, text, parameters):
        """The template as CloudFormation takes it, which sees the parameters itself."""
        return text.replace("CodeUri: ./\n", f"CodeUri: {self.artifact}\n")

    def send(self, method, url, body=None, headers=None, credentials=None):
        """A request, signed if there are credentials. In the path, %2e becomes %2E, and `<` %3C."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = ({"content-type": "application/json"} if data else {}) | (headers or {})
        request = AWSRequest(method, url, data=data, headers=headers)
        if credentials:
            SigV4Auth(Credentials(*credentials), "execute-api", self.region).add_auth(request)
        return Response(URLLib3Session(timeout=60).send(request.prepare()))

    def assume(self, role):
        """A role's credentials, or None: what changes at a role takes a while to be known."""
        try:
            found = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        except ClientError:
            return None
        return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]

    def remove(self):
        """Deletes all that has this name. What it can't delete is returned."""
        left, iam = [], self.client("iam")
        for role in iam.list_roles(PathPrefix=f"/gaia-api-keys/{self.name}/")["Roles"]:
            with contextlib.suppress(iam.exceptions.NoSuchEntityException):
                # A stack couldn't delete its role with it.
                iam.delete_role_policy(RoleName=role["RoleName"], PolicyName=DENIED)
        for name in reversed(self.stacks):
            print(f"removing {name}", file=sys.stderr)
            if (status := Stack(self, name).delete()) != "DELETE_COMPLETE":
                left.append(f"{name}: {status}")
        gateway = self.client("apigateway")
        if f":role/{self.stacks[2]}-" in gateway.get_account().get("cloudwatchRoleArn", ""):
            # API Gateway's way to set none. The run set it, because there was none.
            gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])
        s3 = self.client("s3")
        try:
            for key in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket).search("Contents[].Key||`[]`"):
                s3.delete_object(Bucket=self.bucket, Key=key)
            s3.delete_bucket(Bucket=self.bucket)
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":
                left.append(f"{self.bucket}: {error}")
        return left


class Stack:
    """A stack in an account, which need not exist yet, and requests to the API in it."""

    def __init__(self, account, name, text=None):
        self.account, self.name, self.text = account, name, text
        self.cloudformation = account.client("cloudformation")
        self.outputs = {}  # as its last deployment left them

    def deploy(self, text=None, meanwhile=lambda: None, **parameters):
        """Creates or updates it; parameters that aren't named keep their values. Raises `Failed`.

        `meanwhile` is called again and again until it is done.
        """
        described, parameters = self.describe(), self.parameters() | parameters
        key = f"{self.name}.template"
        self.account.upload(key, self.account.packaged(text or self.text, parameters).encode())
        deploy = self.cloudformation.update_stack if described else self.cloudformation.create_stack
        try:
            identifier = deploy(
                StackName=self.name,
                TemplateURL=f"{self.account.client('s3').meta.endpoint_url}/{self.account.bucket}/{key}",
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
                Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
                Tags=[{"Key": "gaia-api-keys:proof", "Value": self.account.name}],
            )["StackId"]
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
        status = self.settled(identifier, meanwhile)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            events = self.cloudformation.describe_stack_events(StackName=identifier)["StackEvents"]
            failed = (event for event in events if event["ResourceStatus"].endswith("_FAILED"))
            raise Failed(status, [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed])
        self.text = text or self.text
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in self.describe().get("Outputs", [])}

    def describe(self, identifier=None):
        """What CloudFormation says of it; None if there is none. By its ID, it is found after its end too."""
        try:
            found = self.cloudformation.describe_stacks(StackName=identifier or self.name)["Stacks"][0]
        except ClientError as error:
            if code_of(error) != "ValidationError":
                raise
            return None
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found

    def parameters(self):
        found = (self.describe() or {}).get("Parameters", [])
        return {each["ParameterKey"]: each["ParameterValue"] for each in found}

    def settled(self, identifier, meanwhile=lambda: None):
        """Waits until it isn't in progress; its status."""

        def status():
            meanwhile()
            found = (self.describe(identifier) or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"]
            return None if found.endswith("_IN_PROGRESS") else found

        return self.account.wait(f"the stack {self.name}", status, 45 * 60)

    def delete(self):
        """Deletes it, whatever happens to it at the moment; its status."""
        if not (found := self.describe()):
            return "DELETE_COMPLETE"
        if found["StackStatus"] == "UPDATE_IN_PROGRESS":
            self.cloudformation.cancel_update_stack(StackName=self.name)
        if found["StackStatus"] not in ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS"):
            self.settled(self.name)
        self.cloudformation.delete_stack(StackName=self.name)
        return self.settled(found["StackId"])

    def resource(self, logical_id):
        """The physical ID of a resource."""
        detail = self.cloudformation.describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        return detail["StackResourceDetail"]["PhysicalResourceId"]

    def as_role(self, role, *services):
        """Clients with the credentials of a role, which the account may assume beside Lambda from now on."""
        iam, arn = self.account.client("iam"), self.account.caller["Arn"]
        found = iam.get_role(RoleName=self.resource(role))["Role"]
        root = f"arn:{arn.split(':')[1]}:iam::{self.account.caller['Account']}:root"
        trust = found["AssumeRolePolicyDocument"]
        trust["Statement"].append({"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole"})
        iam.update_assume_role_policy(RoleName=found["RoleName"], PolicyDocument=json.dumps(trust))
        credentials = self.account.wait(role, lambda: self.account.assume(found["Arn"]))
        return [self.account.client(service, *credentials) for service in services]

    @contextlib.contextmanager
    def denied(self, role, action):
        """A role may not do this for a while."""
        iam, policy = self.account.client("iam"), {"RoleName": self.resource(role), "PolicyName": DENIED}
        iam.put_role_policy(PolicyDocument=document(action), **policy)
        try:
            time.sleep(4 * self.account.pause)  # until it is in force
            yield
        finally:
            iam.delete_role_policy(**policy)

    def send(self, method, path="", body=None, caller="the account's", **options):
        """A request to the management API, signed unless there is no caller; the path is below KEYS."""
        credentials = self.account.credentials if caller == "the account's" else caller
        return self.account.send(method, self.outputs["ApiUrl"] + KEYS + path, body, credentials=credentials, **options)

    def create(self, **config):
        return self.send("POST", "/", {"config": config}).expect(200)["api_key"]

    def reason(self, key, **asked):
        """Why a key is denied, or None if it is valid."""
        return self.send("POST", "/verify", {"api_key": key} | asked).expect(200).get("reason")

    def call(self, output, method="GET", path="", key=None, header="authorization"):
        """A request to a protected API: to the URL in an output, and what `path` adds."""
        headers = {} if key is None else {header: f"Search {key}" if header == "authorization" else key}
        return self.account.send(method, self.outputs[output] + path, headers=headers)
