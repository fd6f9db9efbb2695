"""A deployment's KMS keys and root keys: what they are, and the steps that change them.

All state is in AWS: the stack's parameters, tags of the KMS keys that were created here, the API keys, and the table's
item that names the root keys in use. Which root key a KMS key gives, only the functions can tell, because nobody else
may call kms:GenerateMac. `signing` asks them.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
from collections.abc import Callable
from typing import Any

import click

from gaia_keys import times
from gaia_keys.api import NOBODY
from gaia_keys.aws import Stack, wait_for
from gaia_keys.connection import Connection
from gaia_keys.errors import Failed, Stopped
from gaia_keys.keys import ID_LENGTH
from gaia_keys.output import say, table

TAG = "gaia-api-keys"
# How long functions start with a root key that the table doesn't name.
ACCEPTED = datetime.timedelta(hours=1)
RETAINED = "The KMS key leaves the stack that created it, and stays in the account, enabled: its DeletionPolicy says so"


def item(service: str) -> dict[str, dict[str, str]]:
    """The key of the table's item that names the root keys."""
    return {"service": {"S": f"{service}#meta"}, "id": {"S": "root_keys"}}


def named(stack: Stack, service: str) -> tuple[set[str], datetime.datetime | None]:
    """The IDs of the root keys that may be in use, and until when others are accepted."""
    response = stack.client("dynamodb").get_item(
        TableName=stack.output("TableName"), Key=item(service), ConsistentRead=True
    )
    found = response.get("Item", {})
    until = int(found.get("accept_any_until", {}).get("N", 0))
    return set(found.get("ids", {}).get("SS", [])), times.at(until) if until else None


def listed(value: Any) -> list[Any]:
    """What a policy may give as a list, or as its only element."""
    return value if isinstance(value, list) else [value]


def is_recent(kms_key: dict[str, Any]) -> bool:
    created: datetime.datetime = kms_key["CreationDate"]
    return created > times.now() - ACCEPTED


class Deployment:
    """`done` collects what was done, for people. `yes` stands for a person who agrees."""

    def __init__(self, connection: Connection, yes: bool = True) -> None:
        self.stack, self.api = connection.deployed(), connection.api()
        self.kms = self.stack.client("kms")
        self.yes, self.former_type = yes, ""
        self.done: list[dict[str, str]] = []
        self.read()

    def read(self) -> None:
        self.primary: str = self.stack.output("KmsKeyId")
        parameters = self.stack.parameters
        self.service, self.secondary = parameters["ServiceName"], parameters["SecondaryKmsKeyId"]
        self.deployment_type: str = parameters["DeploymentType"]

    def settle(self) -> None:
        """Waits for an update that is under way, perhaps of an interrupted run."""
        if not self.stack.at_rest():
            say(f"waiting for the update of the stack {self.stack.name} that is under way")
        status = wait_for(self.stack.at_rest)
        if not status.endswith("_COMPLETE"):
            raise Failed(f"the stack {self.stack.name} is {status}; see aws cloudformation continue-update-rollback")
        self.read()

    def confirm(self, question: str) -> None:
        if not self.yes and not click.confirm(question, err=True):
            table(self.done)
            raise Failed("stopped. To go on, run the same command again")

    def did(self, what: str, which: str) -> None:
        self.done.append({"done": what, "what": which})

    # KMS keys

    def kms_key(self, key_id: str) -> dict[str, Any]:
        """DescribeKey's metadata."""
        try:
            found: dict[str, Any] = self.kms.describe_key(KeyId=key_id)["KeyMetadata"]
        except self.kms.exceptions.NotFoundException:
            raise Failed(f"there is no KMS key {key_id} in this account and Region") from None
        return found

    def usable(self, key_id: str) -> str:
        """The ID of a KMS key, if it can give a root key."""
        found = self.kms_key(key_id)
        kind, state = f"{found['KeySpec']} for {found['KeyUsage']}", found["KeyState"]
        if kind != "HMAC_256 for GENERATE_VERIFY_MAC":
            raise Failed(f"KMS key {key_id} is {kind}; HMAC_256 for GENERATE_VERIFY_MAC is needed")
        if state != "Enabled":
            cancel = f"aws kms cancel-key-deletion --key-id {key_id}, then " if state == "PendingDeletion" else ""
            raise Failed(f"KMS key {key_id} is {state}; first run {cancel}aws kms enable-key --key-id {key_id}")
        return str(found["KeyId"])

    def regions(self, key_id: str) -> list[str]:
        """The other Regions that have this KMS key."""
        found = self.kms_key(key_id).get("MultiRegionConfiguration")
        members = [found["PrimaryKey"], *found["ReplicaKeys"]] if found else []
        return sorted({member["Region"] for member in members} - {self.kms.meta.region_name})

    def tags(self, key_id: str) -> dict[str, str]:
        """Those of this project, by the second part of their names."""
        pages = self.kms.get_paginator("list_resource_tags").paginate(KeyId=key_id)
        every = {tag["TagKey"]: tag["TagValue"] for tag in pages.search("Tags[] || `[]`")}
        return {name[len(TAG) + 1 :]: value for name, value in every.items() if name.startswith(f"{TAG}:")}

    def created(self, **tags: str) -> list[dict[str, Any]]:
        """The enabled KMS keys that were created here, newest first. A new one may take a minute to be found."""
        client, wanted = self.stack.client("resourcegroupstaggingapi"), {"stack": self.stack.name, **tags}
        filters = [{"Key": f"{TAG}:{name}", "Values": [value]} for name, value in wanted.items()]
        pages = client.get_paginator("get_resources").paginate(ResourceTypeFilters=["kms:key"], TagFilters=filters)
        arns = pages.search("ResourceTagMappingList[].ResourceARN || `[]`")
        found = [key for key in (self.kms_key(arn.rsplit("/", 1)[-1]) for arn in arns) if key["KeyState"] == "Enabled"]
        return sorted(found, key=lambda key: key["CreationDate"], reverse=True)

    def new_kms_key(self, purpose: str) -> str:
        """A KMS key with the primary one's policy, and replicas where that has some: an earlier run's, or a new one.

        After a theft, only a key of the last hour counts: the thief may have used an older one.
        """
        policy = self.kms.get_key_policy(KeyId=self.primary, PolicyName="default")["Policy"]
        tags = {"service": self.service, "stack": self.stack.name, purpose: self.primary}
        description = f"Root key of the GAIA API keys of service {self.service}."
        settings = {
            "Policy": policy,
            "Tags": [{"TagKey": f"{TAG}:{name}", "TagValue": value} for name, value in tags.items()],
            "Description": f"{description} If you delete it, every API key is invalid.",
        }
        earlier = self.created(**{purpose: self.primary})
        if purpose == "accept":
            earlier = [key for key in earlier if is_recent(key)]
        if earlier:
            key_id = str(earlier[0]["KeyId"])
            say(f"going on with KMS key {key_id}, which an earlier run created")
        else:
            self.confirm(f"Create a KMS key, with the policy of {self.primary}? It costs 1 USD a month.")
            made = self.kms.create_key(MultiRegion=True, KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC", **settings)
            key_id = str(made["KeyMetadata"]["KeyId"])
            say(f"created KMS key {key_id}")
            self.did("created KMS key", key_id)
        for region in set(self.regions(self.primary)) - set(self.regions(key_id)):
            self.kms.replicate_key(KeyId=key_id, ReplicaRegion=region, **settings)
            self.did("replicated it to", region)
        return key_id

    def policy_of(self, key_id: str) -> Any:
        return json.loads(self.kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])

    def policy(self) -> Any:
        """The KMS policy of the deployed template."""
        client = self.stack.client("cloudformation")
        template = client.get_template(StackName=self.stack.name, TemplateStage="Processed")["TemplateBody"]
        _, partition, _, _, account, _ = self.kms_key(self.primary)["Arn"].split(":", 5)
        values = {"AWS::Partition": partition, "AWS::AccountId": account, "ServiceName": self.service}

        def resolved(value: Any) -> Any:
            if isinstance(value, list):
                return [resolved(each) for each in value]
            if not isinstance(value, dict):
                return value
            if "Fn::Sub" in value:
                return re.sub(r"\$\{([\w:]+)\}", lambda name: values[name[1]], value["Fn::Sub"])
            return {name: resolved(each) for name, each in value.items()}

        try:
            return resolved(template["Resources"]["KmsKey"]["Properties"]["KeyPolicy"])
        except (KeyError, TypeError):
            raise Failed(f"the template of {self.stack.name} has no KmsKey with a policy that can be read") from None

    # The table's item that names the root keys

    def item(self) -> dict[str, Any]:
        return {"TableName": self.stack.output("TableName"), "Key": item(self.service)}

    def named(self) -> tuple[set[str], datetime.datetime | None]:
        return named(self.stack, self.service)

    def accept_any(self) -> None:
        """Lets functions start for a while with root keys that the item doesn't name. Without it, they do anyway."""
        client = self.stack.client("dynamodb")
        with contextlib.suppress(client.exceptions.ConditionalCheckFailedException):
            client.update_item(
                UpdateExpression="SET accept_any_until = :until",
                ConditionExpression="attribute_exists(ids)",
                ExpressionAttributeValues={":until": {"N": str(int((times.now() + ACCEPTED).timestamp()))}},
                **self.item(),
            )

    def name_only(self, root_key: str) -> None:
        """Leaves this root key alone in the item, and accepts no others any more."""
        client, others = self.stack.client("dynamodb"), sorted(self.named()[0] - {root_key})
        values: dict[str, Any] = {":root_key": {"S": root_key}}
        if others:
            values[":others"] = {"SS": others}
        try:
            client.update_item(
                UpdateExpression="REMOVE accept_any_until" + " DELETE ids :others" * bool(others),
                ConditionExpression="contains(ids, :root_key)",
                ExpressionAttributeValues=values,
                **self.item(),
            )
        except client.exceptions.ConditionalCheckFailedException:
            raise Failed(f"the table doesn't name {root_key}, the root key that signs now; run this again") from None
        for other in others:
            self.did("the table no longer names root key", other)

    # The stack and its functions

    def deploy(self, before: Callable[[], None] = lambda: None, **parameters: str) -> None:
        """Deploys parameters, once they and what changes were shown. `before` runs right before that."""
        change = self.stack.prepare(parameters)
        if change is None:
            return
        words = " ".join(f"{name}={value}" for name, value in parameters.items())
        with change:
            if any((row["action"], row["resource"]) == ("Remove", "KmsKey") for row in change.show()):
                say(RETAINED)
            kind = parameters.get("DeploymentType", self.deployment_type)
            back = f" DeploymentType is {self.deployment_type} again afterwards." * (kind != self.deployment_type)
            self.confirm(f"Deploy {words}?{back}")
            before()
            say(f"deploying {words}; this may take some minutes")
            change.execute()
        self.did("deployed", words)
        self.read()

    def deploy_at_once(self, before: Callable[[], None] = lambda: None, **parameters: str) -> None:
        """Retires a root key: in a canary, the old version couldn't start, because the roles lose the KMS key first."""
        self.former_type = self.deployment_type
        self.deploy(before, **parameters, DeploymentType="AllAtOnce")

    def put_type_back(self) -> None:
        """Sets DeploymentType as it was before `deploy_at_once`, if that was called."""
        if self.former_type:
            self.yes = True  # was agreed to
            self.deploy(DeploymentType=self.former_type)

    def start(self) -> None:
        """Sends a request, so that a function starts: it gets its root keys, and names the primary one in the table."""
        try:
            self.api.look_up(NOBODY)
        except Stopped as error:
            hint = "If a function doesn't start, `gaia-keys log errors` says why. Then run this again"
            raise Stopped(f"the management API failed: {error}. {hint}") from None

    def signing(self) -> str:
        """The ID of the root key that signs now: that of an API key that is created, grants nothing, and is deleted."""
        expires = times.written(times.now() + datetime.timedelta(hours=1))  # if this is interrupted
        made = self.api.create({"name": "gaia-keys root-key", "enabled": False, "expires_at": expires})
        key = self.api.find(made[:ID_LENGTH])
        self.api.delete(key)
        return str(key.details["root_key_id"])
