"""An AWS account and Region: stacks, requests to their APIs, and the removal of all that was made.

tests/e2e has the same for an emulator.
"""

import functools
import hashlib
import http.client
import io
import json
import sys
import time
import urllib.parse
import zipfile

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

DENIED = "denied"  # the policy with which a question takes a permission from a function
FUNCTION_ROLES = ("ApiFunctionRole", "AuthorizerFunctionRole")


class Failed(Exception):
    """A deployment failed. `status` is the stack's; it is as before, or was never created."""

    def __init__(self, status, reasons):
        super().__init__(f"{status}: {'; '.join(reasons)}")
        self.status = status


class Response:
    def __init__(self, response):
        self.status, self.headers, self.text = response.status, response.headers, response.read().decode()

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
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, "Resource": resource}]}
    )


class Account:
    """`name` is the name of the keys' stack and of its service, and begins every other name."""

    emulated = False
    pause = 5.0  # seconds between two looks at something that takes time
    options = {}  # of every client

    def __init__(self, name, region, binary):
        self.name, self.region, self.binary = name, region, binary
        self.stacks = [name, f"{name}-monitoring", f"{name}-protected", f"{name}-probe"]
        self.outputs = {}  # by stack, as its last deployment left them

    @functools.cache
    def client(self, service, *credentials):
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return boto3.client(service, region_name=self.region, **self.options | dict(zip(names, credentials)))

    @functools.cached_property
    def credentials(self):
        """Access key, secret and token of the caller."""
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

    # Stacks

    def upload(self, key, content):
        s3 = self.client("s3")
        try:
            s3.head_bucket(Bucket=self.bucket)
        except ClientError:
            where = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
            s3.create_bucket(Bucket=self.bucket, **where)
        s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    @functools.cached_property
    def artifact(self):
        """Where the functions' code is, uploaded."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, self.binary.read_bytes())
        key = f"{hashlib.sha256(packed.getvalue()).hexdigest()}.zip"
        self.upload(key, packed.getvalue())
        return f"s3://{self.bucket}/{key}"

    def packaged(self, text, parameters):
        """The template as CloudFormation takes it, which sees the parameters itself."""
        return text.replace("CodeUri: ./\n", f"CodeUri: {self.artifact}\n")

    def deploy(self, stack, text, parameters, meanwhile=lambda: None):
        """Creates or updates a stack; parameters that aren't named keep their values. Raises `Failed`.

        `meanwhile` is called again and again until it is done.
        """
        cloudformation, described = self.client("cloudformation"), self.describe(stack)
        kept = {each["ParameterKey"]: each["ParameterValue"] for each in (described or {}).get("Parameters", [])}
        parameters = kept | parameters
        self.upload(f"{stack}.template", self.packaged(text, parameters).encode())
        deploy = cloudformation.update_stack if described else cloudformation.create_stack
        try:
            identifier = deploy(
                StackName=stack,
                TemplateURL=f"{self.client('s3').meta.endpoint_url}/{self.bucket}/{stack}.template",
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
                Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
                Tags=[{"Key": "gaia-api-keys:proof", "Value": self.name}],
            )["StackId"]
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise
        status = self.settled(identifier, meanwhile)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            events = cloudformation.describe_stack_events(StackName=identifier)["StackEvents"]
            failed = (event for event in events if event["ResourceStatus"].endswith("_FAILED"))
            raise Failed(status, [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed])
        found = self.describe(stack).get("Outputs", [])
        self.outputs[stack] = {output["OutputKey"]: output["OutputValue"] for output in found}

    def describe(self, stack):
        """What CloudFormation says of a stack, by its name or ID; None if there is none."""
        try:
            found = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if code_of(error) != "ValidationError":
                raise
            return None
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found

    def settled(self, stack, meanwhile=lambda: None):
        """Waits until a stack isn't in progress; its status."""

        def status():
            meanwhile()
            found = (self.describe(stack) or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"]
            return None if found.endswith("_IN_PROGRESS") else found

        return self.wait(f"the stack {stack}", status, 45 * 60)

    def resource(self, stack, logical_id):
        """The physical ID of a resource."""
        cloudformation = self.client("cloudformation")
        detail = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
        return detail["StackResourceDetail"]["PhysicalResourceId"]

    # Requests

    def connect(self, host):
        return http.client.HTTPSConnection(host, timeout=60)

    def send(self, method, url, body=None, headers=None, credentials=None, tamper=lambda request: None):
        """A request, signed if there are credentials. The path goes as it is. `tamper` changes it after that."""
        parts = urllib.parse.urlsplit(url)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"host": parts.netloc} | ({"content-type": "application/json"} if data else {}) | (headers or {})
        request = AWSRequest(method, url, data=data, headers=headers)
        if credentials:
            SigV4Auth(Credentials(*credentials), "execute-api", self.region).add_auth(request)
        tamper(request)
        connection = self.connect(parts.netloc)
        try:
            target = request.url.partition(parts.netloc)[2]
            connection.request(method, target, body=request.data, headers=dict(request.headers.items()))
            return Response(connection.getresponse())
        finally:
            connection.close()

    def twin(self, role):
        """Credentials with the policies and the path of a function's role, which only Lambda may assume."""
        iam, original = self.client("iam"), self.resource(self.name, role)
        root = f"arn:{self.caller['Arn'].split(':')[1]}:iam::{self.caller['Account']}:root"
        trust = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole"}
        twin = iam.create_role(
            RoleName=f"{self.name}-{role}",
            Path=iam.get_role(RoleName=original)["Role"]["Path"],
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]
        for policy in iam.list_role_policies(RoleName=original)["PolicyNames"]:
            found = iam.get_role_policy(RoleName=original, PolicyName=policy)["PolicyDocument"]
            iam.put_role_policy(RoleName=twin["RoleName"], PolicyName=policy, PolicyDocument=json.dumps(found))
        return self.wait(f"the role {twin['RoleName']}", lambda: self.assume(twin["Arn"]))

    def assume(self, role):
        """A role's credentials, or None: a new role takes a while to be known."""
        try:
            found = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        except ClientError:
            return None
        return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]

    # Removal

    def remove(self):
        """Deletes all that has this name. What it can't delete is returned."""
        left, iam, cloudformation = [], self.client("iam"), self.client("cloudformation")
        for role in iam.list_roles(PathPrefix=f"/gaia-api-keys/{self.name}/")["Roles"]:
            name = role["RoleName"]
            twin = name in [f"{self.name}-{role}" for role in FUNCTION_ROLES]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                if twin or policy == DENIED:  # with which a stack couldn't delete its role
                    iam.delete_role_policy(RoleName=name, PolicyName=policy)
            if twin:
                iam.delete_role(RoleName=name)
        for stack in reversed(self.stacks):
            print(f"removing {stack}", file=sys.stderr)
            if found := self.describe(stack):
                if found["StackStatus"] == "UPDATE_IN_PROGRESS":
                    cloudformation.cancel_update_stack(StackName=stack)
                if found["StackStatus"] not in ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS"):
                    self.settled(stack)
                cloudformation.delete_stack(StackName=stack)
                if (status := self.settled(found["StackId"])) != "DELETE_COMPLETE":
                    left.append(f"{stack}: {status}")
        gateway = self.client("apigateway")
        if f":role/{self.stacks[2]}-" in gateway.get_account().get("cloudwatchRoleArn", ""):
            # API Gateway's way to set none. The run set it, because there was none.
            gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])
        s3 = self.client("s3")
        try:
            for item in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket).search("Contents[]"):
                if item:
                    s3.delete_object(Bucket=self.bucket, Key=item["Key"])
            s3.delete_bucket(Bucket=self.bucket)
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":
                left.append(f"{self.bucket}: {error}")
        return left
