"""The deployed stack: what it is, and how its parameters change."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from gaia_keys import connection, options
from gaia_keys.aws import KEPT, Change, Stack
from gaia_keys.connection import Connection, located
from gaia_keys.errors import Failed, Stopped
from gaia_keys.output import clean, coloured, print_json, result, say, table

GROUP = "AWS::CodeDeploy::DeploymentGroup"
# Parameters whose empty value makes a new table or KMS key, and the output that names the one in use.
OWN = {"ExistingTableName": "TableName", "KmsKeyId": "KmsKeyId"}
# What to do about a stack that can't be updated. Any other status can, or is one of an update that is under way.
NEXT = {
    **dict.fromkeys(
        ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"),
        "its first deployment failed: delete the stack, and deploy again (docs/deploy.md)",
    ),
    "DELETE_FAILED": "delete it again: aws cloudformation delete-stack",
    "REVIEW_IN_PROGRESS": "it has never been deployed: execute its change set, or deploy again",
    "UPDATE_FAILED": "roll it back: aws cloudformation rollback-stack",
    "UPDATE_ROLLBACK_FAILED": "mend what is named there. Then, if an alarm is in the way, run "
    "`gaia-keys stack set --ignore-alarms`; otherwise aws cloudformation continue-update-rollback",
}
UNDER_WAY = (
    "an update is under way. `gaia-keys stack show` shows when it has ended; then run this command again. "
    "To stop it: aws cloudformation cancel-update-stack"
)


def next_step(stack: Stack, status: str) -> str:
    """What to do about a status in which the stack can't be updated; empty if it can be."""
    if status in NEXT:
        return NEXT[status]
    return UNDER_WAY if status.endswith("_IN_PROGRESS") else ""


def known(stack: Stack) -> dict[str, str]:
    """The parameters of a stack of template.yaml. Stopped if it is another stack."""
    parameters = stack.parameters
    if "ServiceName" not in parameters:
        raise Stopped(f"the stack {stack.name} has no parameter ServiceName: is it a stack of GAIA API keys?")
    return parameters


def alarms(stack: Stack) -> list[dict[str, Any]]:
    """The alarms of the stack, which guard its deployments."""
    names = list(stack.resources("AWS::CloudWatch::Alarm").values())
    if not names:
        return []
    found: list[dict[str, Any]] = stack.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    return found


def firing(found: list[dict[str, Any]]) -> list[str]:
    return [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]


def live(stack: Stack, logical_id: str) -> dict[str, Any]:
    """What the alias of a function serves."""
    name = stack.resource(logical_id)
    found: dict[str, Any] = stack.client("lambda").get_function_configuration(FunctionName=name, Qualifier="live")
    return found


@click.group(epilog=options.example("gaia-keys stack show", "gaia-keys stack set Tracing=Active"))
@connection.options
def stack() -> None:
    """Show the deployed stack, or change its parameters."""


@stack.command(
    epilog=options.example("gaia-keys stack show")
    + options.actions(
        "cloudformation:DescribeStacks, DescribeStackResource, ListStackResources",
        "cloudformation:GetTemplateSummary, DescribeStackEvents   defaults, and why an update failed",
        "cloudwatch:DescribeAlarms",
        "lambda:GetFunctionConfiguration",
    )
)
@options.as_json
@located
def show(where: Connection, as_json: bool) -> int:
    """Show status, release, parameters, outputs and alarms that fire.

    A parameter that differs from its default is marked with *.
    """
    stack = where.deployed()
    parameters = dict(sorted(known(stack).items()))
    found = stack.describe()
    status = found["StackStatus"]
    summary = stack.client("cloudformation").get_template_summary(StackName=stack.name)
    defaults = {each["ParameterKey"]: each.get("DefaultValue", "") for each in summary["Parameters"]}
    releases = {name: live(stack, name) for name in ("ApiFunction", "AuthorizerFunction")} if stack.outputs else {}
    release = {name: each["Environment"]["Variables"].get("RELEASE", "") for name, each in releases.items()}
    on = firing(alarms(stack))
    hint = next_step(stack, status)
    reasons = stack.reasons() if "ROLLBACK" in status or "FAILED" in status else ""
    if as_json:
        shown = {"stack": stack.name, "status": status, "reasons": reasons, "release": release, "alarms": on}
        print_json({**shown, "parameters": parameters, "defaults": defaults, "outputs": stack.outputs})
        return 0
    since = found.get("LastUpdatedTime") or found["CreationTime"]
    result(f"{'stack':22}{stack.name}")
    result(f"{'status':22}{status} since {since:%Y-%m-%d %H:%M:%S %Z}")
    result(f"{'release':22}{' and '.join(sorted(set(release.values()))) or 'unknown'}")
    result(f"{'alarms that fire':22}{', '.join(on) or 'none'}")
    for heading, values in (("PARAMETERS (* not the default)", parameters), ("OUTPUTS", stack.outputs)):
        result("")
        result(heading)
        for name, value in values.items():
            mark = "*" if values is parameters and value != defaults.get(name, value) else " "
            result(f"{mark} {name:20}{value or '-'}")
    if reasons:
        say(f"why the last update failed: {reasons}")
    if hint:
        say(f"the stack is {status}: {hint}")
    return 0


def read(pairs: tuple[str, ...]) -> dict[str, str]:
    """The parameters that were typed as NAME=VALUE."""
    changes: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals) or name in changes:
            raise click.UsageError("expected NAME=VALUE, each name once; NAME= empties a parameter")
        changes[name] = value
    return changes


def losses(stack: Stack, changes: Mapping[str, str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """What a change would take away. `rows`: of its change set."""
    before, outputs = stack.parameters, stack.outputs
    after = {**before, **changes}
    found = [
        f"{row['resource']} may be replaced: {KEPT[row['resource']]} would be lost to the service"
        for row in rows
        if row["resource"] in KEPT
        and (row["replaced"] in ("True", "Conditional") or row["action"] == "Remove")
        # The stack's own table or KMS key, adopted by its name: it leaves the stack and stays in use.
        and not (row["resource"] == "Table" and after["ExistingTableName"] == outputs["TableName"])
        and not (row["resource"] == "KmsKey" and after["KmsKeyId"])
    ]
    if after["ServiceName"] != before["ServiceName"]:
        found.append(
            f"ServiceName is part of every API key: those of {before['ServiceName']} become invalid, and those of "
            f"{after['ServiceName']} valid. For another service, deploy another stack"
        )
    if before["ExistingTableName"] != after["ExistingTableName"] != outputs["TableName"]:
        found.append(
            f"the functions leave the table {outputs['TableName']}: keys that the other table lacks are denied"
        )
    known = {outputs["KmsKeyId"], before["SecondaryKmsKeyId"]}
    if before["KmsKeyId"] != after["KmsKeyId"] and after["KmsKeyId"] not in known - {""}:
        found.append(
            f"KmsKeyId isn't a KMS key in use: API keys under {outputs['KmsKeyId']} become invalid, unless that stays "
            "as SecondaryKmsKeyId. See `gaia-keys root-key replace`"
        )
    if before["SecondaryKmsKeyId"] not in {"", after["SecondaryKmsKeyId"], after["KmsKeyId"]}:
        found.append("API keys under the secondary root key become invalid. See `gaia-keys root-key finish`")
    return found


def agreed(stack: Stack, question: str, lost: Sequence[str], yes: bool) -> bool:
    """Whether the caller wants it. What loses something takes more than a y."""
    if lost and yes:
        raise Stopped("this needs a person: run it on a terminal, without --yes")
    if lost:
        typed: str = click.prompt(
            f"{question} Type the stack's name to go on", err=True, default="", show_default=False
        )
        return typed == stack.name
    return yes or click.confirm(question, err=True)


def set_alarms(stack: Stack, enabled: bool) -> list[str]:
    """Sets whether CodeDeploy heeds the alarms of the stack's deployment groups; their names."""
    client = stack.client("codedeploy")
    done = []
    for group in stack.resources(GROUP).values():
        where = {"applicationName": stack.resource("ServerlessDeploymentApplication")}
        try:
            info = client.get_deployment_group(**where, deploymentGroupName=group)["deploymentGroupInfo"]
            found = info.get("alarmConfiguration", {})
            if found.get("alarms") and found.get("enabled", False) != enabled:
                changed = {**found, "enabled": enabled}
                client.update_deployment_group(**where, currentDeploymentGroupName=group, alarmConfiguration=changed)
                done.append(group)
        except client.exceptions.DeploymentGroupDoesNotExistException:
            continue  # the change deleted it
    return done


@contextlib.contextmanager
def ignoring_alarms(stack: Stack) -> Iterator[None]:
    """CodeDeploy's deployments go on while alarms fire."""
    try:
        for group in set_alarms(stack, enabled=False):
            say(f"{group} ignores its alarms now")
        yield
    finally:
        for group in set_alarms(stack, enabled=True):
            say(f"{group} heeds its alarms again")


def propose(stack: Stack, change: Change, changes: dict[str, str], heeded: bool) -> list[str]:
    """Shows what a change set would do; what it would take away."""
    before = stack.parameters
    table(
        [{"parameter": name, "before": before[name] or "-", "after": value or "-"} for name, value in changes.items()]
    )
    click.echo()
    lost = losses(stack, changes, change.show())
    for line in lost:
        click.echo(coloured(clean(f"WARNING: {line}"), "red", sys.stderr), err=True)
    on = firing(alarms(stack))
    if on and heeded and changes.get("DeploymentType", before["DeploymentType"]) != "AllAtOnce":
        say(f"{', '.join(on)} fires: CodeDeploy stops a changed function. Use --all-at-once or --ignore-alarms")
    return lost


def deploy(stack: Stack, changes: dict[str, str], question: str, ignore_alarms: bool, yes: bool) -> bool:
    """Sets parameters, if the caller agrees; whether they are set."""
    before = stack.parameters
    change = stack.prepare(changes)
    if change is None:
        if any(before[name] != value for name, value in changes.items()):
            raise Failed("CloudFormation sees nothing that this changes: the parameters stay as they are")
        say("nothing changes: the stack has these values")
        return True
    with change:
        if not agreed(stack, question, propose(stack, change, changes, not ignore_alarms), yes):
            return False
        try:
            with ignoring_alarms(stack) if ignore_alarms else contextlib.nullcontext():
                change.execute()
        except KeyboardInterrupt:
            ended = "When it has ended, run this command again"
            say(f"CloudFormation goes on by itself: see `gaia-keys stack show`. {ended}")
            raise
    table([{"parameter": name, "before": before[name] or "-", "now": now or "-"} for name, now in changes.items()])
    return True


@stack.command(
    "set",
    epilog=options.example(
        "gaia-keys stack set LogRetentionDays=365", "gaia-keys stack set KeyDisclosure=id --all-at-once"
    )
    + options.actions(
        "cloudformation:DescribeStacks, DescribeStackResource, ListStackResources, DescribeStackEvents",
        "cloudformation:GetTemplate                               the change set carries the deployed template",
        "cloudformation:CreateChangeSet, DescribeChangeSet, DeleteChangeSet, ExecuteChangeSet",
        "cloudformation:GetTemplateSummary                             with --all-at-once",
        "cloudformation:ContinueUpdateRollback                         with --ignore-alarms",
        "cloudwatch:DescribeAlarms",
        "codedeploy:GetDeploymentGroup, UpdateDeploymentGroup          with --ignore-alarms",
        "and what CloudFormation needs to change the stack's resources",
    ),
)
@click.argument("pairs", metavar="NAME=VALUE...", nargs=-1)
@click.option(
    "--all-at-once",
    is_flag=True,
    help="DeploymentType=AllAtOnce for this change only: no canary, and no alarm stops it.",
)
@click.option(
    "--ignore-alarms",
    is_flag=True,
    help="Let CodeDeploy go on while alarms fire, for this change only. Continues a rollback that failed first.",
)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation. Not for what loses API keys or the audit log.")
@located
def set_parameters(where: Connection, pairs: tuple[str, ...], all_at_once: bool, ignore_alarms: bool, yes: bool) -> int:
    """Set parameters of the stack.

    The deployed template and all other parameters stay. It shows the change, asks, and waits until it is made. NAME=
    empties a parameter. To continue a rollback that an alarm blocks: gaia-keys stack set --ignore-alarms
    """
    changes = read(pairs)
    if not changes and not ignore_alarms:
        raise click.UsageError("expected NAME=VALUE")
    if all_at_once and (ignore_alarms or "DeploymentType" in changes):
        raise click.UsageError("--all-at-once goes with neither --ignore-alarms nor DeploymentType")
    options.promptable(yes)
    stack = where.deployed()
    status = stack.describe()["StackStatus"]
    if ignore_alarms and status == "UPDATE_ROLLBACK_FAILED":
        say(f"the last rollback failed: {stack.reasons()}")
        if not agreed(stack, f"Continue the rollback of {stack.name}, and ignore alarms meanwhile?", (), yes):
            return 1
        client = stack.client("cloudformation")
        with ignoring_alarms(stack):
            stack.update(lambda: client.continue_update_rollback(StackName=stack.name), "UPDATE_ROLLBACK_COMPLETE")
    elif hint := next_step(stack, status):
        reasons = f" ({stack.reasons()})" if status == "UPDATE_ROLLBACK_FAILED" else ""
        raise Stopped(f"the stack {stack.name} is {status}{reasons}: {hint}")
    elif not changes:
        mended = set_alarms(stack, enabled=True)  # after an interruption
        raise Failed(f"no rollback has failed{'; alarms are heeded again' * bool(mended)}")
    if not changes:
        return 0
    return change_parameters(stack, changes, all_at_once, ignore_alarms, yes)


def change_parameters(stack: Stack, changes: dict[str, str], all_at_once: bool, ignore_alarms: bool, yes: bool) -> int:
    before, outputs = known(stack), stack.outputs
    kind = before["DeploymentType"]
    wanted = {**changes, "DeploymentType": "AllAtOnce"} if all_at_once and kind != "AllAtOnce" else changes
    if not deploy(stack, wanted, f"Change {stack.name}?", ignore_alarms, yes):
        return 1
    if all_at_once:
        # An interrupted run left AllAtOnce; by then, only the template knows another value.
        summary = stack.client("cloudformation").get_template_summary(StackName=stack.name)["Parameters"]
        (default,) = [each["DefaultValue"] for each in summary if each["ParameterKey"] == "DeploymentType"]
        former: str = default if kind == "AllAtOnce" else kind
        say(f"DeploymentType becomes {former} again: that changes no function, and makes CodeDeploy's application anew")
        deploy(stack, {"DeploymentType": former}, "", False, True)
    former_values = before | {name: before[name] or outputs[output] for name, output in OWN.items()}
    back = [f"{name}={former_values[name]}" for name, value in changes.items() if value != before[name]]
    if not back:
        return 0
    say(f"to go back: gaia-keys stack set {' '.join(map(shlex.quote, back))}")
    say("if your samconfig.toml has parameter_overrides, change them too: the next `sam deploy` sets those again")
    if {"ExistingTableName", "KmsKeyId", "SecondaryKmsKeyId"} & set(changes):
        say("deploy the monitoring stack again: it watches the table and the KMS keys that there were")
    return 0
