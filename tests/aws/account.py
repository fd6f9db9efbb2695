"""An AWS account and Region: stacks, requests to their APIs, and the removal of all that was made."""

import dataclasses
import functools
import hashlib
import http.client
import io
import json
import pathlib
import sys
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

Client = Any  # boto3 makes its clients' types at run time

# What the templates keep when a stack is deleted. Of these kinds, a stack's other resources are gone by then.
RETAINED = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::IAM::Role")
DENIED = "denied"  # the policy with which a question takes a permission from a function
FUNCTION_ROLES = ("ApiFunctionRole", "AuthorizerFunctionRole")
GONE = ("ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket", "NotFoundException", "KMSInvalidStateException")


class Failed(Exception):
    """A deployment failed. `status` is the stack's; it is as before, or was never created."""

    def __init__(self, status: str, reasons: list[str]) -> None:
        super().__init__(f"{status}: {'; '.join(reasons)}")
        self.status = status


@dataclasses.dataclass
class Response:
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Account:
    """`name` is the name of the keys' stack and of its service, and begins every other name."""

    emulated = False
    pause = 5.0  # seconds between two looks at something that takes time

    def __init__(self, name: str, region: str, binary: pathlib.Path) -> None:
        self.name, self.region, self.binary = name, region, binary
        self.stacks = [name, f"{name}-monitoring", f"{name}-protected", f"{name}-probe"]

    @functools.cache
    def client(self, service: str) -> Client:
        return boto3.client(service, region_name=self.region)

    @functools.cached_property
    def caller(self) -> dict[str, str]:
        found = self.client("sts").get_caller_identity()
        return {"Account": found["Account"], "Arn": found["Arn"]}

    @property
    def bucket(self) -> str:
        return f"{self.name}-{self.caller['Account']}"

    def wait(self, what: str, probe: Callable[[], Any], seconds: float = 300) -> Any:
        """What `probe` returns as soon as that is true. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while not (found := probe()):
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s")
            time.sleep(self.pause)
        return found

    # Stacks

    def upload(self, key: str, content: bytes) -> None:
        s3 = self.client("s3")
        try:
            s3.head_bucket(Bucket=self.bucket)
        except ClientError:
            where = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
            s3.create_bucket(Bucket=self.bucket, **where)
        s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    @functools.cached_property
    def artifact(self) -> str:
        """Where the functions' code is, uploaded."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, self.binary.read_bytes())
        key = f"{hashlib.sha256(packed.getvalue()).hexdigest()}.zip"
        self.upload(key, packed.getvalue())
        return f"s3://{self.bucket}/{key}"

    def packaged(self, text: str, parameters: dict[str, str]) -> str:
        """The template as CloudFormation takes it, which sees the parameters itself."""
        return text.replace("CodeUri: ./\n", f"CodeUri: {self.artifact}\n")

    def deploy(
        self, stack: str, text: str, parameters: dict[str, str], meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Creates or updates a stack; parameters that aren't named keep their values. Raises `Failed`.

        `meanwhile` is called again and again until it is done.
        """
        print(f"deploying {stack} {parameters}", file=sys.stderr)
        cloudformation = self.client("cloudformation")
        described = self.describe(stack)
        kept = {each["ParameterKey"]: each["ParameterValue"] for each in (described or {}).get("Parameters", [])}
        parameters = kept | parameters
        self.upload(f"{stack}.template", self.packaged(text, parameters).encode())
        deploy = cloudformation.update_stack if described else cloudformation.create_stack
        try:
            identifier = deploy(
                StackName=stack,
                TemplateURL=f"{self.client('s3').meta.endpoint_url}/{self.bucket}/{stack}.template",
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
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

    def describe(self, stack: str) -> dict[str, Any] | None:
        """What CloudFormation says of a stack, by its name or ID; None if there is none."""
        try:
            found = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            return None
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found

    def settled(self, stack: str, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Waits until a stack isn't in progress; its status."""

        def status() -> str | None:
            meanwhile()
            found = (self.describe(stack) or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"]
            return None if found.endswith("_IN_PROGRESS") else found

        return str(self.wait(f"the stack {stack}", status, 45 * 60))

    @functools.cache
    def outputs(self, stack: str) -> dict[str, str]:
        found = self.describe(stack)
        assert found, f"no stack {stack}"
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    @functools.cache
    def resource(self, stack: str, logical_id: str) -> str:
        """The physical ID of a resource that no deployment replaces."""
        cloudformation = self.client("cloudformation")
        detail = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
        return str(detail["StackResourceDetail"]["PhysicalResourceId"])

    # Requests

    def send(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, credentials: Any = None
    ) -> Response:
        """A request, signed if there are credentials. The path goes as it is."""
        parts = urllib.parse.urlsplit(url)
        data = None if body is None else json.dumps(body).encode()
        request = AWSRequest(method, url, data=data, headers={"host": parts.netloc} | (headers or {}))
        if data is not None:
            request.headers["content-type"] = "application/json"
        if credentials:
            SigV4Auth(credentials, "execute-api", self.region).add_auth(request)
        connection = http.client.HTTPSConnection(parts.netloc, timeout=60)
        try:
            connection.request(method, parts.path, body=data, headers=dict(request.headers.items()))
            response = connection.getresponse()
            return Response(response.status, response.read().decode())
        finally:
            connection.close()

    @property
    def credentials(self) -> Any:
        """The caller's."""
        return boto3.Session().get_credentials().get_frozen_credentials()

    def twin(self, role: str) -> Callable[[str], Client]:
        """Clients with the policies and the path of a function's role, which only Lambda may assume."""
        iam, original = self.client("iam"), self.resource(self.name, role)
        root = f"arn:{self.caller['Arn'].split(':')[1]}:iam::{self.caller['Account']}:root"
        trust = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole"}
        twin = iam.create_role(
            RoleName=f"{self.name}-{role}",
            Path=iam.get_role(RoleName=original)["Role"]["Path"],
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )["Role"]
        for policy in iam.list_role_policies(RoleName=original)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=original, PolicyName=policy)["PolicyDocument"]
            iam.put_role_policy(RoleName=twin["RoleName"], PolicyName=policy, PolicyDocument=json.dumps(document))

        def assumed() -> Any:
            try:
                return self.client("sts").assume_role(RoleArn=twin["Arn"], RoleSessionName=self.name)["Credentials"]
            except ClientError:  # a new role takes a while to be known
                return None

        return functools.partial(self.client_of, self.wait(f"the role {twin['RoleName']}", assumed))

    def client_of(self, found: dict[str, str], service: str) -> Client:
        """A client with the credentials that STS returned."""
        return boto3.client(
            service,
            region_name=self.region,
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
        )

    # Removal

    def remove(self) -> list[str]:
        """Deletes all that has this name, also what stacks left that are deleted already. What it can't delete is returned."""
        left, iam = [], self.client("iam")
        for role in iam.list_roles(PathPrefix=f"/gaia-api-keys/{self.name}/")["Roles"]:
            name = role["RoleName"]
            if name in [f"{self.name}-{twin}" for twin in FUNCTION_ROLES]:
                self.delete("AWS::IAM::Role", name)
            elif DENIED in iam.list_role_policies(RoleName=name)["PolicyNames"]:  # the stack couldn't delete the role
                iam.delete_role_policy(RoleName=name, PolicyName=DENIED)
        for stack in reversed(self.stacks):
            print(f"removing {stack}", file=sys.stderr)
            retained = set(self.retained(stack))
            if found := self.describe(stack):
                if found["StackStatus"] == "UPDATE_IN_PROGRESS":
                    self.client("cloudformation").cancel_update_stack(StackName=stack)
                if found["StackStatus"] not in ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS"):
                    self.settled(stack)
                self.client("cloudformation").delete_stack(StackName=stack)
                if (status := self.settled(found["StackId"])) != "DELETE_COMPLETE":
                    left.append(f"{stack}: {status}")
                    continue
            left += [f"{name}: {error}" for kind, name in sorted(retained) if (error := self.tried(self.delete, kind, name))]
        if error := self.tried(self.delete_bucket):
            left.append(f"{self.bucket}: {error}")
        return left

    def retained(self, stack: str) -> Iterator[tuple[str, str]]:
        """Kind and ID of what deleting this stack leaves, or has left."""
        cloudformation = self.client("cloudformation")
        for page in cloudformation.get_paginator("list_stacks").paginate():
            for found in page["StackSummaries"]:
                if found["StackName"] == stack:
                    events = cloudformation.get_paginator("describe_stack_events").paginate(StackName=found["StackId"])
                    for event in (event for events_page in events for event in events_page["StackEvents"]):
                        if event["ResourceType"] in RETAINED and event.get("PhysicalResourceId"):
                            yield event["ResourceType"], event["PhysicalResourceId"]

    def tried(self, action: Callable[..., None], *arguments: str) -> ClientError | None:
        """The error of an action, unless what it deletes is gone."""
        try:
            action(*arguments)
        except ClientError as error:
            return None if error.response["Error"]["Code"] in GONE else error
        return None

    def delete(self, kind: str, name: str) -> None:
        if kind == "AWS::DynamoDB::Table":
            dynamodb = self.client("dynamodb")
            dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
            self.wait(name, lambda: dynamodb.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE")
            dynamodb.delete_table(TableName=name)
        elif kind == "AWS::KMS::Key":
            self.client("kms").schedule_key_deletion(KeyId=name, PendingWindowInDays=7)
        elif kind == "AWS::Logs::LogGroup":
            self.client("logs").delete_log_group(logGroupName=name)
        else:
            iam, gateway = self.client("iam"), self.client("apigateway")
            if gateway.get_account().get("cloudwatchRoleArn", "").endswith(f"/{name}"):
                # API Gateway's way to set none. The run set it, because there was none.
                gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])
            for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            iam.delete_role(RoleName=name)

    def delete_bucket(self) -> None:
        s3 = self.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for item in page.get("Contents", []):
                s3.delete_object(Bucket=self.bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=self.bucket)
