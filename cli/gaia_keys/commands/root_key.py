"""The root key: what it is, its replacement, and its theft. Each command goes on where it was interrupted."""

from __future__ import annotations

import datetime
import json
from typing import Any

import click

from gaia_keys import gateways, options, times
from gaia_keys.connection import Connection, located
from gaia_keys.errors import Failed, Stopped
from gaia_keys.keys import Key
from gaia_keys.output import print_json, print_keys, say, table
from gaia_keys.root_keys import Deployment, is_recent, listed

REPLACE, FINISH, ACCEPT, REPAIR = (f"gaia-keys root-key {word}" for word in ("replace", "finish", "accept", "repair"))
ELSEWHERE = (
    "If samconfig.toml, Terraform or CDK sets KmsKeyId or SecondaryKmsKeyId, change it there too, or it is set back",
    "Deploy the monitoring stack again: its KmsKeyAlarm watches the KMS keys that there were",
)
READS = (
    "cloudformation:DescribeStacks, GetTemplate          parameters, outputs and the template's KMS policy",
    "kms:DescribeKey, GetKeyPolicy, ListResourceTags     the KMS keys",
    "tag:GetResources                                    KMS keys that an earlier run created",
    "dynamodb:GetItem                                    the root keys in use: partition <ServiceName>#meta",
    "execute-api:Invoke                                  the management API",
)
DEPLOYS = (
    "cloudformation:CreateChangeSet, DescribeChangeSet   a deployment, as it is shown",
    "cloudformation:ExecuteChangeSet, DeleteChangeSet    a deployment, beside the rights to what it changes",
    "cloudformation:DescribeStackEvents                  why a deployment failed",
)
CREATES = (
    "kms:CreateKey, TagResource, ReplicateKey            the new KMS key, in each Region that has the old one",
    "iam:CreateServiceLinkedRole                         for an account's first multi-Region KMS key",
)
NAMES = ("dynamodb:UpdateItem                                 the root keys in use",)

kms_key_option = click.option("--kms-key", metavar="ID", help="Use this KMS key instead of creating one.")


class InOrder(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group("root-key", cls=InOrder, epilog=options.example("gaia-keys root-key status"))
def root_key() -> None:
    """Replace the root key, and handle its theft.

    API keys are derived from a root key, which a KMS key gives. The primary KMS key's root key signs new API keys. API
    keys of the secondary one's are valid too. On schedule: replace, rotate the API keys, finish. After a theft: accept.
    """


def report(deployment: Deployment, *lines: str) -> int:
    """Prints what was done, and says what comes next."""
    table(deployment.done)
    for line in lines:
        say(line)
    return 0


def pending(deployment: Deployment) -> bool:
    """Whether the secondary KMS key was created to replace the primary one."""
    return bool(deployment.secondary) and deployment.tags(deployment.secondary).get("replace") == deployment.primary


def refuse_during_accept(deployment: Deployment) -> None:
    until = deployment.named()[1]
    if until and until > times.now():
        end = times.written(until)
        raise Failed(f"{ACCEPT} was started, and any root key is accepted until {end}; first run it again")


@root_key.command(epilog=options.example("gaia-keys root-key status") + options.actions(*READS))
@options.as_json
@located
def status(connection: Connection, as_json: bool) -> int:
    """Show KMS keys, root keys, and how many API keys need each."""
    deployment = Deployment(connection)
    template = deployment.policy()
    roles = {deployment.primary: "primary", **({deployment.secondary: "secondary"} if deployment.secondary else {})}
    for key in deployment.created():
        roles.setdefault(key["KeyId"], "not in use")
    kms_keys = [describe(deployment, key_id, role, template) for key_id, role in roles.items()]
    if not as_json:
        # Even if the functions don't start. A row of 80 columns.
        table(headed([{**key, "created": key["created"][:10]} for key in kms_keys]))
    named, until = deployment.named()
    try:
        root_keys = count(list(deployment.api.keys()), named)
    except Stopped:
        say(f"The table names these root keys: {', '.join(sorted(named)) or 'none'}")
        raise
    if as_json:
        accepted = times.written(until) if until else None
        print_json({"kms_keys": kms_keys, "root_keys": root_keys, "accept_any_until": accepted})
        return 0
    table(headed(root_keys))
    say("The primary KMS key gives the root key of the newest API key, if that was created after the last deployment")
    if any(key["policy"] == "changed" or key["state"] != "Enabled" for key in kms_keys if key["role"] != "not in use"):
        say(f"A KMS key in use isn't as the template has it. Next: {REPAIR}")
    elif until and until > times.now():
        say(f"Functions accept any root key until {times.written(until)}. Next: {ACCEPT}")
    elif deployment.secondary:
        say(f"Next: {REPLACE if pending(deployment) else FINISH}")
    return 0


def headed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name.replace("_", " "): cell for name, cell in row.items()} for row in rows]


def describe(deployment: Deployment, key_id: str, role: str, template: Any) -> dict[str, Any]:
    found = deployment.kms_key(key_id)
    return {
        "kms_key": key_id,
        "role": role,
        "state": found["KeyState"],
        "policy": "intact" if deployment.policy_of(key_id) == template else "changed",
        "created": times.written(found["CreationDate"].astimezone(times.UTC)),
        "also_in": " ".join(deployment.regions(key_id)),
    }


def count(keys: list[Key], named: set[str]) -> list[dict[str, Any]]:
    """The API keys of each root key; that of the newest API key first."""
    rows = []
    for root in {*named, *(key.details["root_key_id"] or "" for key in keys)}:
        own = [key for key in keys if (key.details["root_key_id"] or "") == root]
        active = sum(key.state == "active" for key in own)
        rows.append(
            {
                "root_key": root,
                "named_in_table": "yes" if root in named else "no",
                "active": active,
                "disabled_or_expired": len(own) - active,
                "newest": max((key.details["created_at"] or "" for key in own), default=""),
            }
        )
    return sorted(rows, key=lambda row: (row["newest"], row["root_key"]), reverse=True)


@root_key.command(epilog=options.example("gaia-keys root-key replace") + options.actions(*READS, *CREATES, *DEPLOYS))
@kms_key_option
@options.yes
@located
def replace(connection: Connection, kms_key: str | None, yes: bool) -> int:
    """Sign new API keys with another root key. All API keys stay valid.

    Creates a KMS key with the policy of the primary one, deploys it as the secondary one, and then makes it the primary
    one and the old one the secondary one. After that, rotate the API keys, and run finish.

    If the KMS key is in other Regions too, each run does one of the two deployments: do the first one in all Regions
    before the second one.

    To go back: gaia-keys root-key replace --kms-key OLD.
    """
    options.promptable(yes)
    deployment = Deployment(connection, yes)
    deployment.settle()
    refuse_during_accept(deployment)
    old, secondary = deployment.primary, deployment.secondary
    if secondary:
        done = deployment.tags(old).get("replace") == secondary
        if kms_key == old or (done and not kms_key):
            return report(deployment, f"KMS key {old} is the primary one already", *after_replace(secondary))
        meant = kms_key == secondary if kms_key else pending(deployment)
        if not meant:
            either = f"To make it the primary one: {REPLACE} --kms-key {secondary}. To retire it: {FINISH}"
            raise Failed(f"KMS key {secondary} is the secondary one. {either}")
        new = deployment.usable(secondary)
    else:
        say("Two deployments: the new KMS key as the secondary one, then as the primary one. Each is shown first.")
        new = deployment.usable(kms_key) if kms_key else deployment.new_kms_key("replace")
        if new == old:
            raise Failed(f"KMS key {new} is the primary one, and the only one. To replace it, leave --kms-key out")
        deployment.deploy(SecondaryKmsKeyId=new)
        if regions := deployment.regions(old):
            return report(
                deployment,
                f"Now run this in {', '.join(regions)}: {REPLACE} --region REGION --kms-key {new}",
                "When it is the secondary one in all Regions, run the same once more in each of them, and here",
            )
    deployment.start()  # before anything is signed that a function without the new root key would deny
    deployment.deploy(KmsKeyId=new, SecondaryKmsKeyId=old)
    deployment.start()
    return report(deployment, *after_replace(old))


def after_replace(old: str) -> tuple[str, ...]:
    rotate = f"gaia-keys rotate --older-than {times.written(times.now())} --grace 7d --mapping mapping.csv"
    back = f"To go back: {REPLACE} --kms-key {old}"
    return f"Next: {rotate}, and give out the new keys; then {FINISH}", back, *ELSEWHERE


@root_key.command(epilog=options.example("gaia-keys root-key finish") + options.actions(*READS, *NAMES, *DEPLOYS))
@click.option("--kms-key", metavar="ID", help="The secondary KMS key, if it is the one that replace created.")
@options.yes
@located
def finish(connection: Connection, kms_key: str | None, yes: bool) -> int:
    """Retire the old root key after a replacement.

    Refuses while active API keys need it, and lists them. Otherwise removes the secondary KMS key from the stack, and
    its root key from the table's item. It deletes no KMS key. To see which root key signs now, it creates an API key
    that grants nothing, and deletes it.

    To go back: gaia-keys root-key replace --kms-key OLD. Its first deployment is enough.
    """
    options.promptable(yes)
    deployment = Deployment(connection, yes)
    deployment.settle()
    refuse_during_accept(deployment)
    old = deployment.secondary
    if kms_key and kms_key != old:
        raise Failed(f"KMS key {kms_key} isn't the secondary one{f', which is {old}' if old else '; there is none'}")
    if not kms_key and pending(deployment):
        give_up = f"To give it up: {FINISH} --kms-key {old}"
        raise Failed(f"KMS key {old} isn't the primary one yet; first run {REPLACE}. {give_up}")
    if not old and len(deployment.named()[0]) < 2:
        raise Failed(f"nothing to finish: there is one KMS key, and the table names one root key. First: {REPLACE}")
    signing = deployment.signing()
    every = list(deployment.api.keys())
    others = [key for key in every if key.details["root_key_id"] != signing]
    if needed := [key for key in others if key.state == "active"]:
        print_keys(needed, False)
        count_and_key = f"{len(needed)} active API keys aren't of root key {signing}, which signs now"
        raise Failed(f"{count_and_key}: {how_to_go_on(needed)}")
    if others:
        say(f"{len(others)} disabled or expired API keys become invalid, even if somebody enables or extends them")
    if old:
        deployment.deploy_at_once(SecondaryKmsKeyId="")
        deployment.start()
        deployment.put_type_back()
    deployment.name_only(signing)
    back = f"To go back: aws kms enable-key --key-id {old}, then {REPLACE} --kms-key {old}"
    return report(
        deployment,
        *((*retired(old, "nobody wants to go back"), back) if old else ()),
        *deployment_type(deployment),
        *ELSEWHERE,
    )


def how_to_go_on(keys: list[Key]) -> str:
    """What to do about API keys that need a root key."""
    if left := [key.created for key in keys if key.created and not key.details["rotated_to"]]:
        after = times.written(max(left) + datetime.timedelta(seconds=1))
        rotate = f"gaia-keys rotate --older-than {after} --grace 7d --mapping mapping.csv"
        return f"{rotate}; run this again when the grace period is over"
    if ends := [key.expires for key in keys if key.expires]:
        return f"they were rotated, and the last grace period ends at {times.written(max(ends))}; run this again then"
    return "they were rotated, and never expire: delete them, or let them expire (gaia-keys update --expires)"


def retired(old: str, when: str) -> tuple[str, str]:
    return (
        f"Next: aws kms disable-key --key-id {old}. When {when}, in each Region, replicas first:",
        f"  aws kms schedule-key-deletion --key-id {old} --pending-window-in-days 30",
    )


def deployment_type(deployment: Deployment) -> tuple[str, ...]:
    """What is left of an interrupted run: nothing says what it was before."""
    if deployment.deployment_type != "AllAtOnce":
        return ()
    restore = "gaia-keys stack set DeploymentType=Canary10Percent5Minutes"
    return (f"DeploymentType is AllAtOnce, so deployments ignore alarms. If it wasn't so before: {restore}",)


@root_key.command(
    epilog=options.example("gaia-keys root-key accept")
    + options.actions(
        *READS,
        *CREATES,
        *NAMES,
        *DEPLOYS,
        "apigateway:GET, DELETE                              the authorizer's caches, as in gaia-keys leaked --help",
    )
)
@kms_key_option
@options.yes
@located
def accept(connection: Connection, kms_key: str | None, yes: bool) -> int:
    """After a theft: use another root key alone. ALL API KEYS BECOME INVALID.

    First take the thief's access away: the new KMS key has the policy of the old one. This creates a KMS key, lets
    functions start with a root key that the table doesn't name, for an hour at most, and deploys the new one alone.
    Then it empties the caches of the APIs that use the authorizer, and leaves the new root key alone in the table's
    item. To see which that is, it creates an API key that grants nothing, and deletes it.

    If you can't accept an outage: gaia-keys root-key replace, with a grace period of hours. Until it is finished, the
    thief can use every API key. In several Regions, run this in each of them, with the --kms-key that it names.

    There is no way back: the old KMS key would make the thief's keys work again.
    """
    options.promptable(yes)
    deployment = Deployment(connection, yes)
    deployment.settle()
    old = deployment.primary
    if not is_accepted(deployment, kms_key):
        if kms_key == old:
            raise Failed(f"KMS key {kms_key} is the primary one: its root key is the stolen one. Leave --kms-key out")
        if not kms_key and deployment.policy_of(old) != deployment.policy():
            raise Failed(f"KMS key {old} has another policy than the template; first run {REPAIR}")
        say("All API keys of this service become invalid. There is no way back.")
        if "accept" in deployment.tags(old) and is_recent(deployment.kms_key(old)):
            say(f"An earlier {ACCEPT} made {old} the primary KMS key: the API keys created since become invalid too.")
            if yes:
                raise Stopped("this needs a person: run it on a terminal, without --yes")
        new = deployment.usable(kms_key) if kms_key else deployment.new_kms_key("accept")
        deployment.deploy_at_once(deployment.accept_any, KmsKeyId=new, SecondaryKmsKeyId="")
    deployment.start()
    caches = gateways.empty_caches(deployment.stack)
    for row in caches:
        deployment.did(f"cache: {row['cache']}", f"{row['api']} {row['stage']}")
    deployment.put_type_back()
    deployment.name_only(deployment.signing())
    rotate = f"gaia-keys rotate --older-than {times.written(times.now())} --grace 0 --mapping mapping.csv"
    lines = [f"Next: {rotate}, and give out the new keys"]
    if any(row["cache"] != "emptied" for row in caches):
        lines.insert(0, "Not all caches could be emptied. They may allow invalid API keys until their time is over")
    if regions := deployment.regions(deployment.primary):
        there = f"{ACCEPT} --region REGION --kms-key {deployment.primary}"
        lines.insert(0, f"Functions in {', '.join(regions)} no longer start, until you run this there: {there}")
    lines.append("Then look in CloudTrail for GenerateMac by others than the functions, and for changes of their roles")
    if stolen := deployment.tags(deployment.primary).get("accept", old if old != deployment.primary else ""):
        lines += retired(stolen, "the investigation is over")
    return report(deployment, *lines, *deployment_type(deployment), *ELSEWHERE)


def is_accepted(deployment: Deployment, kms_key: str | None) -> bool:
    """Whether an interrupted run deployed the new root key: the hour has begun, and the table names the stolen one too.

    The tag alone doesn't say so: the root key of an earlier accept may be the one that is stolen now.
    """
    if deployment.secondary or not deployment.named()[1]:
        return False
    if kms_key:
        return kms_key == deployment.primary
    return "accept" in deployment.tags(deployment.primary) and {deployment.signing()} != deployment.named()[0]


@root_key.command(
    epilog=options.example("gaia-keys root-key repair")
    + options.actions(*READS, "kms:CancelKeyDeletion, EnableKey, PutKeyPolicy      what is to be repaired")
)
@options.yes
@located
def repair(connection: Connection, yes: bool) -> int:
    """Put the KMS keys in use back in order.

    Cancels a deletion, enables a disabled one, and puts the policy of the deployed template back. Asks before each.
    Functions that run keep their root key for hours, even if the KMS key is disabled. To go back: aws kms disable-key,
    schedule-key-deletion or put-key-policy.
    """
    options.promptable(yes)
    deployment = Deployment(connection, yes)
    kms, template, lines = deployment.kms, deployment.policy(), []
    for key_id in filter(None, (deployment.primary, deployment.secondary)):
        found = deployment.kms_key(key_id)
        if found["KeyState"] == "PendingDeletion":
            deployment.confirm(f"Cancel the deletion of KMS key {key_id}?")
            kms.cancel_key_deletion(KeyId=key_id)
            deployment.did("cancelled the deletion of KMS key", key_id)
        if found["KeyState"] in ("PendingDeletion", "Disabled"):
            deployment.confirm(f"Enable KMS key {key_id}?")
            kms.enable_key(KeyId=key_id)
            deployment.did("enabled KMS key", key_id)
        current = deployment.policy_of(key_id)
        if current != template:
            table(statements("now", current) + statements("template", template))
            deployment.confirm(f"Put the template's policy on KMS key {key_id}?")
            kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=json.dumps(template))
            deployment.did("put the template's policy on KMS key", key_id)
            lines = [f"If you don't know who changed the policy, consider the root key stolen. Next: {ACCEPT}"]
    if not deployment.done:
        say("nothing to repair: the KMS keys in use are enabled, and have the template's policy")
    if regions := deployment.regions(deployment.primary):
        lines.append(f"The KMS key also is in {', '.join(regions)}: run this there. If one isn't yours, delete it")
    return report(deployment, *lines)


def statements(which: str, policy: Any) -> list[dict[str, str]]:
    """Who may do what."""
    names = ("Effect", "Principal", "Action", "Condition")
    return [
        {"policy": which, **{name.lower(): json.dumps(each.get(name, "")).replace('"', "") for name in names}}
        for each in listed(policy["Statement"])
    ]
