"""The root key: what it is, its replacement, and what to do after a theft.

All state is in AWS: the stack's parameters, tags of the KMS keys that these commands created, the API keys, and the item
that names the root keys in use (`#meta`). So each command can be run again, and goes on where it was interrupted.

Which root key a KMS key gives, only the functions can tell: nobody else may call kms:GenerateMac. `signing` asks them.
"""

from __future__ import annotations

import datetime
import json
import re
import time
from typing import TYPE_CHECKING, Any, Callable

import click

from gaia_keys import options, times
from gaia_keys.commands.leaked import actions, empty_caches, table
from gaia_keys.connection import located
from gaia_keys.errors import Failed, NoSuchKey, Stopped
from gaia_keys.keys import id_of
from gaia_keys.lossless import shown
from gaia_keys.output import print_keys, say

if TYPE_CHECKING:
    from gaia_keys.connection import Connection

TAG = "gaia-api-keys"
# How long functions start with a root key that the table doesn't name.
ACCEPTED = 3600
FINISH, REPLACE, ACCEPT, REPAIR = (f"gaia-keys root-key {word}" for word in ("finish", "replace", "accept", "repair"))
ELSEWHERE = (
    "If samconfig.toml, Terraform or CDK sets KmsKeyId or SecondaryKmsKeyId, change it there too: its next deployment would undo this",
    "Deploy the monitoring stack again, so that its KmsKeyAlarm watches the KMS keys that are in use now",
)

READS = (
    ("cloudformation:DescribeStacks, GetTemplate", "the stack's parameters, outputs and deployed KMS policy"),
    ("kms:DescribeKey, GetKeyPolicy, ListResourceTags", "the KMS keys"),
    ("tag:GetResources", "KMS keys that an earlier run created"),
    ("dynamodb:GetItem", "the item that names the root keys, partition <ServiceName>#meta"),
    ("execute-api:Invoke", "the management API"),
)
DEPLOYS = (
    ("cloudformation:CreateChangeSet, DescribeChangeSet", "a deployment, as it is shown"),
    ("cloudformation:ExecuteChangeSet, DeleteChangeSet", "the deployment, which also needs the rights to what it changes"),
    ("cloudformation:DescribeStackEvents", "why a deployment failed"),
)
CREATES = (("kms:CreateKey, TagResource, ReplicateKey", "the new KMS key, in each Region that has the old one"),)
WRITES = (("dynamodb:UpdateItem", "the item that names the root keys"),)

yes_option = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
kms_key_option = click.option("--kms-key", metavar="ID", help="Use this KMS key instead of creating one.")


def confirm(yes: bool, question: str) -> None:
    if not yes and not click.confirm(question, err=True):
        raise Failed("stopped. To go on, run the same command again")


class Deployment:
    """The stack, its KMS keys and its functions."""

    def __init__(self, connection: Connection) -> None:
        self.stack, self.api = connection.deployed(), connection.api()
        self.kms = self.stack.client("kms")
        self.done: list[dict[str, str]] = []
        self.read()

    def read(self) -> None:
        self.primary = self.stack.output("KmsKeyId")
        parameters = self.stack.parameters
        self.service, self.secondary = parameters["ServiceName"], parameters["SecondaryKmsKeyId"]
        self.deployment_type = parameters["DeploymentType"]

    def settle(self) -> None:
        """Waits for an update that is under way, perhaps of an interrupted run."""
        from gaia_keys.aws import wait_for

        if not self.settled():
            say(f"waiting for the update of the stack {self.stack.name} that is under way")
        status = wait_for(self.settled)
        if not status.endswith("_COMPLETE"):
            raise Failed(f"the stack {self.stack.name} is {status}; see aws cloudformation continue-update-rollback")
        self.read()

    def settled(self) -> str | None:
        status: str = self.stack.describe()["StackStatus"]
        return None if status.endswith("_IN_PROGRESS") else status

    # KMS keys

    def kms_key(self, key_id: str) -> dict[str, Any]:
        """DescribeKey's metadata."""
        try:
            found: dict[str, Any] = self.kms.describe_key(KeyId=key_id)["KeyMetadata"]
        except self.kms.exceptions.NotFoundException:
            raise Failed(f"there is no KMS key {key_id} in this account and Region") from None
        return found

    def usable(self, key_id: str) -> str:
        """The ID of a KMS key that can give a root key."""
        found = self.kms_key(key_id)
        if (found["KeySpec"], found["KeyUsage"]) != ("HMAC_256", "GENERATE_VERIFY_MAC"):
            raise Failed(f"KMS key {key_id} is {found['KeySpec']} for {found['KeyUsage']}; HMAC_256 for GENERATE_VERIFY_MAC is needed")
        if found["KeyState"] != "Enabled":
            cancel = f"aws kms cancel-key-deletion --key-id {key_id}, then " if found["KeyState"] == "PendingDeletion" else ""
            raise Failed(f"KMS key {key_id} is {found['KeyState']}; first run {cancel}aws kms enable-key --key-id {key_id}")
        usable_id: str = found["KeyId"]
        return usable_id

    def regions(self, key_id: str) -> set[str]:
        """The other Regions that have this KMS key."""
        found = self.kms_key(key_id).get("MultiRegionConfiguration")
        members = [found["PrimaryKey"], *found["ReplicaKeys"]] if found else []
        return {member["Region"] for member in members} - {self.kms.meta.region_name}

    def tags(self, key_id: str) -> dict[str, str]:
        pages = self.kms.get_paginator("list_resource_tags").paginate(KeyId=key_id)
        return {tag["TagKey"]: tag["TagValue"] for tag in pages.search("Tags[]")}

    def created(self, **tags: str) -> list[str]:
        """The enabled KMS keys that these commands created for this stack, newest first. A new tag may take a minute to be found."""
        wanted = {"stack": self.stack.name} | tags
        pages = self.stack.client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(
            ResourceTypeFilters=["kms:key"],
            TagFilters=[{"Key": f"{TAG}:{name}", "Values": [value]} for name, value in wanted.items()],
        )
        found = [self.kms_key(arn.rsplit("/", 1)[-1]) for arn in pages.search("ResourceTagMappingList[].ResourceARN")]
        found = [key for key in found if key["KeyState"] == "Enabled"]
        return [key["KeyId"] for key in sorted(found, key=lambda key: key["CreationDate"], reverse=True)]

    def new_kms_key(self, purpose: str, yes: bool) -> str:
        """A KMS key with the policy of the primary one: an earlier run's, or a new one. With replicas where the primary has some."""
        tags = {"service": self.service, "stack": self.stack.name, purpose: self.primary}
        policy = self.kms.get_key_policy(KeyId=self.primary, PolicyName="default")["Policy"]
        settings = {"Policy": policy, "Tags": [{"TagKey": f"{TAG}:{name}", "TagValue": value} for name, value in tags.items()]}
        key_id = next(iter(self.created(**{purpose: self.primary})), None)
        if key_id:
            self.did("KMS key of an earlier run", key_id)
        else:
            confirm(yes, f"Create a KMS key, with the policy of {self.primary}? It costs 1 USD a month")
            made = self.kms.create_key(
                MultiRegion=True,
                KeySpec="HMAC_256",
                KeyUsage="GENERATE_VERIFY_MAC",
                Description=f"Root key of the GAIA API keys of service {self.service}. If you delete it, every API key is invalid.",
                **settings,
            )
            key_id = made["KeyMetadata"]["KeyId"]
            self.did("created KMS key", key_id)
        for region in sorted(self.regions(self.primary) - self.regions(key_id)):
            self.kms.replicate_key(KeyId=key_id, ReplicaRegion=region, **settings)
            self.did("replicated it to", region)
        return str(key_id)

    def policy(self) -> Any:
        """The KMS policy of the deployed template."""
        template = self.stack.client("cloudformation").get_template(StackName=self.stack.name, TemplateStage="Processed")
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
            return resolved(template["TemplateBody"]["Resources"]["KmsKey"]["Properties"]["KeyPolicy"])
        except (KeyError, TypeError):
            raise Failed(f"the template of the stack {self.stack.name} has no policy of a resource KmsKey that can be read") from None

    def policy_of(self, key_id: str) -> Any:
        return json.loads(self.kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"])

    # The item that names the root keys

    def item(self) -> dict[str, Any]:
        return {"TableName": self.stack.output("TableName"), "Key": {"service": {"S": f"{self.service}#meta"}, "id": {"S": "root_keys"}}}

    def named(self) -> tuple[set[str], float]:
        """The IDs of the root keys that may be in use, and until when others are accepted, in epoch seconds; 0 if they aren't."""
        found = self.stack.client("dynamodb").get_item(ConsistentRead=True, **self.item()).get("Item", {})
        return set(found.get("ids", {}).get("SS", [])), float(found.get("accept_any_until", {}).get("N", 0))

    def accept_any(self) -> None:
        """Lets functions start for a while with root keys that the table doesn't name. Without the item, they do anyway."""
        client = self.stack.client("dynamodb")
        try:
            client.update_item(
                UpdateExpression="SET accept_any_until = :until",
                ConditionExpression="attribute_exists(ids)",
                ExpressionAttributeValues={":until": {"N": str(int(time.time()) + ACCEPTED)}},
                **self.item(),
            )
        except client.exceptions.ConditionalCheckFailedException:
            pass

    def name_only(self, signing: str) -> None:
        """Leaves this root key alone in the item, and accepts no others any more."""
        others = sorted(self.named()[0] - {signing})
        client = self.stack.client("dynamodb")
        try:
            client.update_item(
                UpdateExpression="REMOVE accept_any_until" + " DELETE ids :others" * bool(others),
                ConditionExpression="contains(ids, :signing)",
                ExpressionAttributeValues={":signing": {"S": signing}, **({":others": {"SS": others}} if others else {})},
                **self.item(),
            )
        except client.exceptions.ConditionalCheckFailedException:
            raise Failed(f"the table doesn't name {signing}, the root key that signs now; send a request, then run this again") from None
        self.did("removed from the table's root keys", ", ".join(others) or "none")

    def no_theft(self) -> None:
        """A replacement doesn't mix with what follows a theft."""
        until = self.named()[1]
        if until > time.time():
            end = times.written(datetime.datetime.fromtimestamp(until, times.UTC))
            raise Failed(f"{ACCEPT} was started, and any root key is accepted until {end}; run it again first")

    # The functions

    def deploy(self, yes: bool, before: Callable[[], None] = lambda: None, **parameters: str) -> None:
        """Deploys parameters, once they and what changes were shown. `before` runs right before that."""
        shown_parameters = " ".join(f"{name}={value}" for name, value in parameters.items())
        change = self.stack.prepare(parameters)
        if change is None:
            return
        once = parameters.get("DeploymentType", self.deployment_type) != self.deployment_type
        back = f" DeploymentType is {self.deployment_type} again afterwards." if once else ""
        rows = change.rows()
        table(rows)
        if any((row["action"], row["resource"]) == ("Remove", "KmsKey") for row in rows):
            say("The KMS key that the stack created leaves the stack. It stays in the account, enabled (DeletionPolicy)")
        try:
            confirm(yes, f"Deploy {shown_parameters}?{back}")
        except BaseException:
            change.discard()
            raise
        before()
        say(f"deploying {shown_parameters}; this may take some minutes")
        change.execute()
        self.did("deployed", shown_parameters)
        self.read()

    def restore_deployment_type(self, before: str) -> None:
        """A retired root key can't be canaried away: the roles lose its KMS key first. This puts the way of deployments back."""
        if before != "AllAtOnce":
            self.deploy(True, DeploymentType=before)
        else:
            say("DeploymentType is AllAtOnce, which ignores alarms. If that isn't meant to stay: gaia-keys stack set DeploymentType=Canary10Percent5Minutes")

    def start(self) -> None:
        """Sends a request: if need be, a function starts, which gets its root keys and names the primary one in the table."""
        from gaia_keys.api import NOBODY

        try:
            self.api.find(NOBODY)
        except NoSuchKey:
            pass
        except Stopped as error:
            raise Stopped(f"the management API may not start: {error}. See `gaia-keys log errors`, then run this again") from None

    def signing(self) -> str:
        """The ID of the root key that signs new API keys: that of one which is created, grants nothing, and is deleted."""
        expires = times.written(times.now() + datetime.timedelta(hours=1))  # if this is interrupted
        key_id = id_of(self.api.create({"name": "gaia-keys root-key", "enabled": False, "expires_at": expires}))
        key = self.api.find(key_id)
        self.api.delete(key)
        return str(key.details["root_key_id"])

    def did(self, what: str, which: str) -> None:
        self.done.append({"done": what, "": which})

    def report(self, *lines: str) -> int:
        """Prints what was done, and what comes next."""
        table(self.done)
        for line in lines:
            say(line)
        return 0


@click.group("root-key")
def root_key() -> None:
    """Replace the root key, and handle its theft.

    API keys are derived from a root key, which a KMS key gives. The primary KMS key's signs new API keys; keys of the
    secondary one's are valid too. On schedule: replace, rotate the API keys, finish. After a theft: accept.
    """


@root_key.command(epilog=options.example("gaia-keys root-key status") + actions(*READS))
@options.as_json
@located
def status(connection: Connection, as_json: bool) -> int:
    """Show KMS keys, root keys, and how many API keys need each."""
    deployment = Deployment(connection)
    template = deployment.policy()
    roles = {deployment.primary: "primary", deployment.secondary: "secondary"}
    roles |= {key_id: "not in use" for key_id in deployment.created() if key_id not in roles}
    kms_keys = [
        {
            "kms_key": key_id,
            "role": role,
            "state": (found := deployment.kms_key(key_id))["KeyState"],
            "created": times.written(found["CreationDate"].astimezone(times.UTC)),
            "also_in": " ".join(sorted(deployment.regions(key_id))),
            "policy": "as deployed" if deployment.policy_of(key_id) == template else "differs",
        }
        for key_id, role in roles.items()
        if key_id
    ]
    if not as_json:
        print_rows(kms_keys)  # even if the functions don't start
    named, until = deployment.named()
    keys = list(deployment.api.keys())
    root_keys = []
    for root in {*named, *(key.details["root_key_id"] or "" for key in keys)}:
        own = [key for key in keys if (key.details["root_key_id"] or "") == root]
        active = sum(key.state == "active" for key in own)
        newest = max((key.details["created_at"] or "" for key in own), default="")
        in_table = "yes" if root in named else "no"
        root_keys.append({"root_key": root, "in_table": in_table, "active": active, "other": len(own) - active, "newest": newest})
    root_keys.sort(key=lambda row: (row["newest"], row["root_key"]), reverse=True)
    if as_json:
        click.echo(shown({"kms_keys": kms_keys, "root_keys": root_keys, "accept_any_until": int(until) or None}))
        return 0
    print_rows(root_keys)
    say("The primary KMS key's root key is that of the newest API key, if it was created since the last deployment")
    if any(row["policy"] == "differs" or row["state"] != "Enabled" for row in kms_keys if row["role"] != "not in use"):
        say(f"A KMS key in use isn't as it was deployed. Next: {REPAIR}")
    elif until > time.time():
        say(f"Functions start with any root key until {times.written(datetime.datetime.fromtimestamp(until, times.UTC))}. Next: {ACCEPT}")
    elif deployment.secondary:
        say(f"Next: {REPLACE if pending(deployment) else FINISH}")
    return 0


def print_rows(rows: list[dict[str, Any]]) -> None:
    table([{name.replace("_", " "): cell for name, cell in row.items()} for row in rows])


def pending(deployment: Deployment) -> bool:
    """Whether the secondary KMS key was created to replace the primary one."""
    return bool(deployment.secondary) and deployment.tags(deployment.secondary).get(f"{TAG}:replace") == deployment.primary


@root_key.command(epilog=options.example("gaia-keys root-key replace") + actions(*READS, *CREATES, *DEPLOYS))
@kms_key_option
@yes_option
@located
def replace(connection: Connection, kms_key: str | None, yes: bool) -> int:
    """Sign new API keys with another root key; all API keys stay valid.

    Creates a KMS key with the policy of the primary one, deploys it as the secondary one, and then makes it the primary one
    and the old one secondary. After that, rotate the API keys, and run finish.

    If the KMS key has replicas in other Regions, each run does one of the two deployments: do the first one in all Regions
    before the second one.

    To go back: gaia-keys root-key replace --kms-key OLD.
    """
    options.promptable(yes)
    deployment = Deployment(connection)
    deployment.settle()
    deployment.no_theft()
    old, secondary = deployment.primary, deployment.secondary
    if kms_key and kms_key == old and not secondary:
        raise Failed(f"KMS key {kms_key} is the primary one, and the only one. Without --kms-key, this creates another one")
    if secondary and (kms_key == old or not kms_key and deployment.tags(old).get(f"{TAG}:replace") == secondary):
        return deployment.report(f"KMS key {old} is the primary one already.", *after_replace(secondary))
    if secondary and kms_key not in (None, secondary):
        raise Failed(f"KMS key {secondary} is the secondary one; first run {FINISH}, or go on with it: {REPLACE} --kms-key {secondary}")
    if secondary and not kms_key and not pending(deployment):
        raise Failed(f"KMS key {secondary} is the secondary one. To make it the primary one: {REPLACE} --kms-key {secondary}. To retire it: {FINISH}")
    if secondary:
        new = deployment.usable(secondary)
    else:
        new = deployment.usable(kms_key) if kms_key else deployment.new_kms_key("replace", yes)
        if new == old:
            raise Failed(f"KMS key {new} is the primary one, and the only one. Without --kms-key, this creates another one")
        deployment.deploy(yes, SecondaryKmsKeyId=new)
        if regions := sorted(deployment.regions(old)):
            return deployment.report(
                f"Now run this in {', '.join(regions)}: {REPLACE} --region REGION --kms-key {new}",
                "When all Regions have it as the secondary one, run the same in each of them again, here too.",
            )
    deployment.start()  # before anything is signed that a function without the new root key would deny
    deployment.deploy(yes, KmsKeyId=new, SecondaryKmsKeyId=old)
    deployment.start()
    return deployment.report(*after_replace(old))


def after_replace(old: str) -> list[str]:
    now = times.written(times.now())
    return [
        f"Next: gaia-keys rotate --older-than {now} --grace 7d --mapping mapping.csv, and give out the new keys; then {FINISH}",
        f"To go back: {REPLACE} --kms-key {old}",
        *ELSEWHERE,
    ]


@root_key.command(epilog=options.example("gaia-keys root-key finish") + actions(*READS, *WRITES, *DEPLOYS))
@click.option("--kms-key", metavar="ID", help="The secondary KMS key, if it is the one that was meant to be the new one.")
@yes_option
@located
def finish(connection: Connection, kms_key: str | None, yes: bool) -> int:
    """Retire the old root key after a replacement.

    Refuses while active API keys need it, and lists them. Otherwise it removes the secondary KMS key from the stack and its
    root key from the table's item. It deletes no KMS key. To see which root key signs now, it creates an API key that grants
    nothing, and deletes it.

    To go back: gaia-keys root-key replace --kms-key OLD, of which the first deployment is enough.
    """
    options.promptable(yes)
    deployment = Deployment(connection)
    deployment.settle()
    deployment.no_theft()
    old = deployment.secondary
    if kms_key and kms_key != old:
        raise Failed(f"KMS key {kms_key} isn't the secondary one{f', which is {old}' if old else '; there is none'}")
    if not kms_key and pending(deployment):
        raise Failed(f"KMS key {old} isn't the primary one yet; first run {REPLACE}. To give it up instead: {FINISH} --kms-key {old}")
    if not old and len(deployment.named()[0]) < 2:
        raise Failed(f"there is nothing to finish: the stack has one KMS key, and the table names one root key. To replace it: {REPLACE}")
    signing = deployment.signing()
    others = [key for key in deployment.api.keys() if key.details["root_key_id"] != signing]
    if needed := [key for key in others if key.state == "active"]:
        print_keys(needed, False)
        raise Failed(f"{len(needed)} active API keys need another root key than {signing}, which signs now: {how_to_go_on(needed)}")
    if others:
        say(f"{len(others)} disabled or expired API keys become invalid, even if somebody enables or extends them. To show them: gaia-keys list")
    if old:
        before = deployment.deployment_type
        deployment.deploy(yes, SecondaryKmsKeyId="", DeploymentType="AllAtOnce")
        deployment.start()
        deployment.restore_deployment_type(before)
    deployment.name_only(signing)
    return deployment.report(
        *retired(old),
        f"To go back: aws kms enable-key --key-id {old or 'OLD'}, then {REPLACE} --kms-key {old or 'OLD'}",
        *ELSEWHERE,
    )


def how_to_go_on(keys: list[Any]) -> str:
    """What to do about API keys that need a root key."""
    if left := [key for key in keys if not key.details["rotated_to"]]:
        newest = max(key.created for key in left) + datetime.timedelta(seconds=1)
        return f"gaia-keys rotate --older-than {times.written(newest)} --grace 7d --mapping mapping.csv, and run this again when the grace period is over"
    if ends := [key.expires for key in keys if key.expires]:
        return f"they were rotated, and the last grace period ends at {times.written(max(ends))}; run this again then"
    return "they were rotated and never expire; delete them, or set --expires"


def retired(old: str) -> list[str]:
    if not old:
        return []
    return [
        f"Next: aws kms disable-key --key-id {old}. When nobody wants to go back, in each Region that has it (replicas first):",
        f"  aws kms schedule-key-deletion --key-id {old} --pending-window-in-days 30",
    ]


@root_key.command(
    epilog=options.example("gaia-keys root-key accept")
    + actions(
        *READS,
        *CREATES,
        *WRITES,
        *DEPLOYS,
        ("apigateway:GET, DELETE", "empties the caches of the APIs that use the authorizer"),
    )
)
@kms_key_option
@yes_option
@located
def accept(connection: Connection, kms_key: str | None, yes: bool) -> int:
    """After a theft of the root key: use another one alone. ALL API KEYS BECOME INVALID.

    First take the thief's access away: the new KMS key has the policy of the old one. Then this creates a KMS key, lets
    functions start with a root key that the table doesn't name, for an hour at most, deploys the new one alone, empties the
    caches of the APIs that use the authorizer, and names the new root key alone in the table. To see which that is, it
    creates an API key that grants nothing, and deletes it.

    If you can't accept an outage: gaia-keys root-key replace, with a grace period of hours. Until you finish that, the thief
    can use every API key. In several Regions, run this in each, with the --kms-key that it prints.

    There is no way back: the old KMS key would make the thief's keys work again.
    """
    options.promptable(yes)
    deployment = Deployment(connection)
    deployment.settle()
    old, before, until = deployment.primary, deployment.deployment_type, deployment.named()[1]
    ours = kms_key == old or f"{TAG}:accept" in deployment.tags(old)
    if not (until and ours and not deployment.secondary):
        if kms_key == old:
            raise Failed(f"KMS key {kms_key} is the primary one: its root key is the one that was stolen. Leave --kms-key out")
        if not kms_key and deployment.policy_of(old) != deployment.policy():
            raise Failed(f"the policy of KMS key {old} isn't the deployed one, and the new KMS key would get it; first run {REPAIR}")
        say("All API keys of this service become invalid. There is no way back.")
        new = deployment.usable(kms_key) if kms_key else deployment.new_kms_key("accept", yes)
        deployment.deploy(yes, deployment.accept_any, KmsKeyId=new, SecondaryKmsKeyId="", DeploymentType="AllAtOnce")
    deployment.start()
    caches = list(empty_caches(deployment.stack))
    for row in caches:
        deployment.did(f"cache: {row['result']}", f"{row['api']} {row['stage']}")
    deployment.restore_deployment_type(before)
    deployment.name_only(deployment.signing())
    regions = sorted(deployment.regions(deployment.primary))
    again = [f"Functions in {', '.join(regions)} start no more until you run this there: {ACCEPT} --region REGION --kms-key {deployment.primary}"]
    failed = ["Empty the caches above that could not be emptied: they may allow API keys that are invalid"]
    now = times.written(times.now())
    return deployment.report(
        *again * bool(regions),
        *failed * any(row["result"] != "emptied" for row in caches),
        f"Next: gaia-keys rotate --older-than {now} --grace 0 --mapping mapping.csv, and give out the new keys",
        "Then find out what happened: in CloudTrail, callers of GenerateMac other than the functions, and changes of their roles",
        *(retired(old) if old != deployment.primary else []),
        *ELSEWHERE,
    )


@root_key.command(
    epilog=options.example("gaia-keys root-key repair")
    + actions(*READS, ("kms:CancelKeyDeletion, EnableKey, PutKeyPolicy", "what is to be repaired"))
)
@yes_option
@located
def repair(connection: Connection, yes: bool) -> int:
    """Put the KMS keys in use back: not deleted, enabled, and with the policy of the deployed template.

    Asks before each. Running functions keep their root key for hours, even if the KMS key is disabled. To go back, disable
    the KMS key, or put another policy: aws kms put-key-policy.
    """
    options.promptable(yes)
    deployment = Deployment(connection)
    template, stolen = deployment.policy(), False
    for key_id in filter(None, (deployment.primary, deployment.secondary)):
        found = deployment.kms_key(key_id)
        if found["KeyState"] == "PendingDeletion":
            confirm(yes, f"Cancel the deletion of KMS key {key_id}, which is set to {times.written(found['DeletionDate'].astimezone(times.UTC))}?")
            deployment.kms.cancel_key_deletion(KeyId=key_id)
            deployment.did("cancelled the deletion of KMS key", key_id)
        if found["KeyState"] in ("PendingDeletion", "Disabled"):
            confirm(yes, f"Enable KMS key {key_id}?")
            deployment.kms.enable_key(KeyId=key_id)
            deployment.did("enabled KMS key", key_id)
        current = deployment.policy_of(key_id)
        if current != template:
            table(statements(current, "now") + statements(template, "deployed template"))
            confirm(yes, f"Put the policy of the deployed template on KMS key {key_id}?")
            deployment.kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=json.dumps(template))
            deployment.did("put the deployed policy on KMS key", key_id)
            stolen = True
    if not deployment.done:
        say("nothing to repair: the KMS keys are enabled, and have the deployed policy")
    lines = [f"If somebody else changed the policy, they may have the root key. Next: {ACCEPT}"] * stolen
    if regions := sorted(deployment.regions(deployment.primary)):
        lines.append(f"The KMS key also is in {', '.join(regions)}. Run this there too. If a replica isn't yours, schedule its deletion, and run {ACCEPT}")
    return deployment.report(*lines)


def statements(policy: Any, which: str) -> list[dict[str, str]]:
    """Who may do what."""
    each = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    return [
        {
            "policy": which,
            **{name.lower(): json.dumps(one.get(name, ""), sort_keys=True).replace('"', "") for name in ("Effect", "Principal", "Action", "Condition")},
        }
        for one in each
    ]
