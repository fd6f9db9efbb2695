"""`gaia-keys restore`: the table as it was, with what the audit log says of the time since.

Each step looks at AWS to see what is left to do, so the command can be interrupted and run again.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
from collections.abc import Callable
from typing import Any

import click

from gaia_keys import options, replay, root_keys, times
from gaia_keys.aws import Stack, wait_for
from gaia_keys.connection import Connection, located
from gaia_keys.errors import Failed, Stopped
from gaia_keys.output import say, table
from gaia_keys.replay import Item, Omission

ACTIONS = """\b
IAM actions:
  cloudformation:DescribeStacks
  cloudformation:GetTemplate, DescribeStackEvents                   for the switch to the new table
  cloudformation:CreateChangeSet, DescribeChangeSet, DeleteChangeSet, ExecuteChangeSet
  dynamodb:RestoreTableToPointInTime, BatchWriteItem, GetItem, Scan, Query, PutItem, UpdateItem, DeleteItem
  dynamodb:DescribeTable, DescribeContinuousBackups, DescribeTimeToLive, ListTagsOfResource
  dynamodb:UpdateTable, UpdateTimeToLive, UpdateContinuousBackups, TagResource, UntagResource
  dynamodb:ListBackups, RestoreTableFromBackup                      for a deleted table
  dynamodb:DeleteTable                                              with --only
  execute-api:Invoke                                                with --only, for keys that were changed
  logs:DescribeLogGroups, FilterLogEvents
  and what CloudFormation needs to change the stack's resources"""
# While the switch is deployed, this tag of the new table says which DeploymentType to set afterwards.
DEPLOYMENT_TYPE = "gaia-api-keys:deployment-type"
IDLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


def moment(text: str) -> datetime.datetime:
    """A time in the past. No span: the same command, run again, must mean the same time."""
    time = times.parse(text)
    if time > times.now():
        raise ValueError(f"'{text}' is in the future")
    return time


MOMENT = options.Parsed(moment)


@click.command(
    epilog=options.example(
        "gaia-keys restore --to 2026-11-24T09:00:00Z",
        "gaia-keys restore --to 2026-11-24T09:00:00Z --without arn:aws:iam::111122223333:user/alice \\",
        "    --from 2026-11-24T09:30:00Z --until 2026-11-24T09:31:00Z",
        "gaia-keys restore --to 2026-11-24T09:29:59Z --only gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    )
    + "\n\n"
    + ACTIONS
)
@click.option("--to", type=MOMENT, required=True, metavar="TIME", help="Point in time: 2026-11-24T09:00:00Z.")
@click.option("--without", metavar="ACTOR", help="Leave out what this caller changed (see `gaia-keys log audit`) ...")
@click.option("--from", "since", type=MOMENT, metavar="TIME", help="... from this time on ...")
@click.option("--until", type=MOMENT, metavar="TIME", help="... until before this time.")
@click.option("--only", type=options.KEY_ID, multiple=True, metavar="KEY", help="Bring back only this key. Repeatable.")
@options.yes
@located
def restore(
    connection: Connection,
    to: datetime.datetime,
    without: str | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    only: tuple[str, ...],
    yes: bool,
) -> int:
    """Restore the table, without losing what was changed since.

    The table as it was at --to is restored under another name. What the audit log has of the time since is done again
    there: keys that were deleted, disabled or restricted stay so, and keys that were created since are copied from the
    table in use. After a comparison, the stack is switched to the new table. Each step is shown first, and needs your
    confirmation. If the command is interrupted, run it again: it continues.

    With --only, the stack keeps its table, and only these keys are as they were at --to. Take the moment right before
    the mistake: a key that was restricted later than --to comes back without that.
    """
    if without and since and until:
        omission = Omission(without, since, until)
    elif without or since or until:
        raise click.UsageError("--without, --from and --until go together")
    else:
        omission = None
    if only and omission:
        raise click.UsageError("expected either --only or --without")
    options.promptable(yes)
    restoration = Restoration(connection.deployed(), to.replace(microsecond=0), omission, yes)
    return restoration.bring_back(connection, only) if only else restoration.run()


class Restoration:
    """`source` is the damaged table, `target` the new one, `point` the time that the latter has."""

    def __init__(self, stack: Stack, to: datetime.datetime, omission: Omission | None, yes: bool) -> None:
        self.stack, self.point, self.omission, self.yes = stack, to, omission, yes
        self.dynamodb, self.logs = stack.client("dynamodb"), stack.client("logs")
        self.service = stack.parameters["ServiceName"]
        self.current = self.source = stack.output("TableName")
        self.done: list[dict[str, str]] = []
        suffix = f"-restored-{to:%Y%m%dT%H%M%S}"
        if omission:  # another result, so another table
            parts = (omission.actor, omission.since.isoformat(), omission.until.isoformat())
            suffix += "-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:6]
        self.target = stack.name[: 49 - len(suffix)] + suffix  # template.yaml, ExistingTableName

    def run(self) -> int:
        self.check()
        self.changes()  # a wrong --without must not show after an hour's restore
        say("Nobody should change keys until this is done. What is changed all the same is replayed.")
        self.make()
        self.replay()
        self.set_up()
        if self.current != self.target:
            self.compare()
            self.switch()
            self.replay()  # what was changed meanwhile
        self.settle()
        table(self.done)
        say(f"The stack {self.stack.name} uses {self.target}. Keep ExistingTableName, also in samconfig.toml.")
        say("Run this command once more in some minutes: it applies changes that were logged late.")
        say("Then empty the caches of the protected APIs, and deploy the monitoring again.")
        say(f"To go back: gaia-keys stack set ExistingTableName={self.source} --all-at-once (later changes are lost)")
        return 0

    def step(self, title: str) -> None:
        say(f"-- {title}")

    def ask(self, question: str) -> None:
        if not self.yes and not click.confirm(question, err=True):
            raise Failed("stopped. Run the same command again to continue.")

    def did(self, what: str, result: str) -> None:
        self.done.append({"step": what, "result": result})

    def describe(self, name: str) -> dict[str, Any]:
        """A table; empty if there is none."""
        try:
            found: dict[str, Any] = self.dynamodb.describe_table(TableName=name)["Table"]
        except self.dynamodb.exceptions.ResourceNotFoundException:
            return {}
        return found

    def items(self, name: str, partition: str) -> dict[str, Item]:
        """The items of a partition by ID. If there is no such table, there are none."""
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=name,
            ConsistentRead=True,
            KeyConditionExpression="service = :service",
            ExpressionAttributeValues={":service": {"S": partition}},
        )
        try:
            return {item["id"]["S"]: item for item in pages.search("Items[]")}
        except self.dynamodb.exceptions.ResourceNotFoundException:
            return {}

    def messages(self) -> list[str]:
        """The audit entries since the point in time."""
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=self.stack.output("ApiLogGroup"),
            startTime=int((self.point - replay.SLACK).timestamp() * 1000),
            filterPattern='{ $.message = "audit" }',
        )
        return list(pages.search("events[].message"))

    def changes(self) -> tuple[list[replay.Event], list[replay.Event]]:
        """The changes since the point in time, and those of them that are left out."""
        changes = replay.events(self.messages())
        omitted = [event for event in changes if self.omission and self.omission.covers(event)]
        if self.omission and not omitted:
            actors = ", ".join(sorted({event.actor for event in changes})) or "nobody"
            raise Failed(f"--without: no change by that caller at that time; there are changes by {actors}")
        return changes, omitted

    def check(self, logs: bool = True) -> None:
        """That the stack is idle, and that log and table reach back to the point in time."""
        self.step("Check")
        status = wait_for(self.stack.at_rest)
        if status not in IDLE:
            raise Failed(f"the stack {self.stack.name} is {status}: see `gaia-keys stack show`")
        if logs:
            name = self.stack.output("ApiLogGroup")
            found = self.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
            group = next((each for each in found if each["logGroupName"] == name), None)
            if group is None:
                raise Failed(f"the audit log {name} doesn't exist: without it, revoked keys would work again")
            oldest = times.at(group["creationTime"] / 1000)
            if days := group.get("retentionInDays"):
                oldest = max(oldest, times.now() - datetime.timedelta(days=days))
            if self.point < oldest:
                begins = f"the audit log {name} begins at {times.written(oldest)}"
                raise Failed(f"{begins}: without what it lacks, revoked keys would work again")

    def make(self) -> None:
        """Restores into the target, unless an earlier run did, and waits until it is there."""
        in_use = self.current == self.target
        self.step(f"{self.target} is in use" if in_use else f"Restore {self.source} into {self.target}")
        if not self.describe(self.target):
            if self.describe(self.source):
                self.restore()
            else:
                self.restore_deleted()
            self.did("restore", f"{self.target}, as of {times.written(self.point)}")
        if not self.restored():
            say("waiting for the table: up to an hour. You may interrupt this.")
        summary = wait_for(self.restored).get("RestoreSummary", {})
        at, origin = summary.get("RestoreDateTime"), summary.get("SourceTableArn", "").rpartition("/")[2]
        expected = at and (abs((at - self.point).total_seconds()) < 1 or "SourceBackupArn" in summary)
        if not (expected and (in_use or origin == self.current)):
            raise Stopped(f"the table {self.target} exists, and is no such restore of {self.current}: delete it first")
        self.source, self.point = origin, at.astimezone(times.UTC)
        if not self.items(self.target, self.service):
            raise Failed(f"{self.target} has no keys of the service '{self.service}': check the stack's ServiceName")

    def restored(self) -> dict[str, Any] | None:
        found = self.describe(self.target)
        restoring = found.get("RestoreSummary", {}).get("RestoreInProgress")
        return found if found.get("TableStatus") == "ACTIVE" and not restoring else None

    def restore(self) -> None:
        found = self.dynamodb.describe_continuous_backups(TableName=self.source)["ContinuousBackupsDescription"]
        window = found["PointInTimeRecoveryDescription"]
        if window["PointInTimeRecoveryStatus"] != "ENABLED":
            raise Failed(f"{self.source} has no point-in-time recovery")
        earliest, latest = (window[f"{end}RestorableDateTime"].astimezone(times.UTC) for end in ("Earliest", "Latest"))
        if not earliest <= self.point <= latest:
            hint = "wait some minutes" if self.point > latest else "choose a later time"
            window = f"{times.written(earliest)} until {times.written(latest)}"
            raise Failed(f"{self.source} can be restored to a time from {window}: {hint}")
        self.ask(f"Restore {self.source} as of {times.written(self.point)} into the new table {self.target}?")
        self.dynamodb.restore_table_to_point_in_time(
            SourceTableName=self.source, TargetTableName=self.target, RestoreDateTime=self.point
        )

    def restore_deleted(self) -> None:
        """DynamoDB keeps a backup of a deleted table for 35 days, as of its deletion."""
        found = self.dynamodb.list_backups(TableName=self.source, BackupType="SYSTEM")["BackupSummaries"]
        if not found:
            raise Failed(f"the table {self.source} doesn't exist, and there is no backup of it")
        backup = max(found, key=lambda backup: backup["BackupCreationDateTime"])
        self.point = backup["BackupCreationDateTime"].astimezone(times.UTC)
        say(f"The table {self.source} was deleted. Its last backup is of {times.written(self.point)}. It is restored.")
        self.ask(f"Restore that backup into the new table {self.target}?")
        self.dynamodb.restore_table_from_backup(TargetTableName=self.target, BackupArn=backup["BackupArn"])

    def replay(self) -> None:
        """Makes the changes since again in the target. Keys created since, and records of use, come from the source."""
        self.step("Replay the audit log")
        changes, omitted = self.changes()
        if self.omission:
            say(f"left out: {len(omitted)} changes by {self.omission.actor}")
        target, source = self.items(self.target, self.service), self.items(self.source, self.service)
        steps = replay.plan(changes, self.point, self.omission, target, source, times.now())
        rows = [
            {
                "key": each.key_id,
                "change": each.change,
                "fields": ", ".join(replay.differences(each.before, each.after)) if each.before and each.after else "",
                "at": times.written(each.event.at),
                "by": each.event.actor,
                "note": each.note,
            }
            for each in steps
            if each.writes or each.note
        ]
        table(rows, optional=("at", "by"))
        to_write = [each for each in steps if each.writes]
        say(f"{len(steps)} keys were changed since {times.written(self.point)}; {len(to_write)} are left to write")
        if to_write:
            self.ask(f"Write them to {self.target}?")
        for each in to_write:
            self.write(self.target, each.key_id, each.before, each.after)
        for partition, attribute in ((f"{self.service}#use", "last_used_at"), (f"{self.service}#idem", "created_at")):
            self.carry_over(partition, attribute)
        self.did("replay", f"{len(to_write)} keys" + f", {len(omitted)} changes left out" * bool(omitted))

    def write(self, name: str, key_id: str, before: Item | None, after: Item | None) -> None:
        """Puts `after` into a table, or deletes the item, if `before` is still there."""
        condition, values = "attribute_not_exists(id)", dict[str, Any]()
        if before:
            condition = "attribute_exists(id)"
            for attribute in ("config", "change_id"):
                if attribute in before:
                    condition += f" AND {attribute} = :{attribute}"
                    values[f":{attribute}"] = before[attribute]
                else:
                    condition += f" AND attribute_not_exists({attribute})"
        given: dict[str, Any] = {"TableName": name, "ConditionExpression": condition}
        if values:
            given["ExpressionAttributeValues"] = values
        try:
            if after:
                self.dynamodb.put_item(Item=after, **given)
            else:
                self.dynamodb.delete_item(Key={"service": {"S": self.service}, "id": {"S": key_id[5:]}}, **given)
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            raise Failed(f"somebody else changed {key_id} meanwhile: run the command again") from None

    def carry_over(self, partition: str, attribute: str) -> None:
        """Copies newer items. A use decides nothing, and the record of an Idempotency-Key has a MAC."""

        def at(item: Item) -> str:
            return str(next(iter(item.get(attribute, {"S": ""}).values())))

        target = self.items(self.target, partition)
        newer = {
            "ConditionExpression": "attribute_not_exists(id) OR #at < :at",
            "ExpressionAttributeNames": {"#at": attribute},
        }
        for key, item in self.items(self.source, partition).items():
            if at(item) > at(target.get(key, {})):
                values = {":at": item[attribute]}
                with contextlib.suppress(self.dynamodb.exceptions.ConditionalCheckFailedException):
                    self.dynamodb.put_item(TableName=self.target, Item=item, ExpressionAttributeValues=values, **newer)

    def set_up(self) -> None:
        """What a restore leaves out. After the replay, so that TTL deletes no key that was extended since."""
        self.step(f"Set {self.target} up")
        where, left = {"TableName": self.target}, dict[str, Callable[[], object]]()
        found = self.dynamodb.describe_time_to_live(**where)["TimeToLiveDescription"]
        if found["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
            ttl = {"Enabled": True, "AttributeName": "ttl"}
            left["TTL"] = lambda: self.dynamodb.update_time_to_live(TimeToLiveSpecification=ttl, **where)
        backups = self.dynamodb.describe_continuous_backups(**where)["ContinuousBackupsDescription"]
        if backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] != "ENABLED":
            on = {"PointInTimeRecoveryEnabled": True}
            left["point-in-time recovery"] = lambda: self.dynamodb.update_continuous_backups(
                PointInTimeRecoverySpecification=on, **where
            )
        described, old = self.describe(self.target), self.describe(self.source)
        settings = {"DeletionProtectionEnabled": True}
        if "OnDemandThroughput" in old:  # which caps the bill
            settings["OnDemandThroughput"] = old["OnDemandThroughput"]
        if any(described.get(name) != value for name, value in settings.items()):
            left["deletion protection"] = lambda: self.dynamodb.update_table(**where, **settings)
        arn = described["TableArn"]
        tags = {"gaia-api-keys:service": self.service} | (self.tags(old["TableArn"]) if old else {})
        tags.pop(DEPLOYMENT_TYPE, None)
        if missing := sorted(tags.items() - self.tags(arn).items()):
            pairs = [{"Key": name, "Value": value} for name, value in missing]
            left["tags"] = lambda: self.dynamodb.tag_resource(ResourceArn=arn, Tags=pairs)
        if named := self.unnamed_root_keys():
            left["root keys"] = lambda: self.dynamodb.update_item(
                Key=root_keys.item(self.service),
                UpdateExpression="ADD ids :ids",
                ExpressionAttributeValues={":ids": {"SS": named}},
                **where,
            )
        if old.get("Replicas"):
            say("The old table has replicas in other Regions; the new one has none. Create them after the switch.")
        if left:
            self.ask(f"Set in {self.target}: {', '.join(left)}?")
        for change in left.values():
            change()
        self.did("set up", ", ".join(left) or "nothing was left to do")

    def tags(self, arn: str) -> dict[str, str]:
        """A table's tags but AWS's own."""
        pages = self.dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for tag in pages.search("Tags[]") if not tag["Key"].startswith("aws:")}

    def unnamed_root_keys(self) -> list[str]:
        """The root keys that only the source names: functions whose root key is newer couldn't start without them."""
        named, known = (
            set(self.items(name, f"{self.service}#meta").get("root_keys", {}).get("ids", {}).get("SS", ()))
            for name in (self.source, self.target)
        )
        if retired := sorted(known - named) if named else []:
            say(f"It also names the root keys {', '.join(retired)}. If they are retired: gaia-keys root-key finish")
        return sorted(named - known)

    def compare(self) -> None:
        """Shows which keys differ. The log doesn't have all fields of configs, so somebody must look at them."""
        self.step(f"Compare {self.target} with {self.source}")
        target, source = self.items(self.target, self.service), self.items(self.source, self.service)
        rows = []
        for key in sorted(target.keys() | source.keys()):
            fields = replay.differences(target.get(key), source.get(key))
            if key not in source or key not in target:
                which = "new" if key in target else "old"
                rows.append({"key": f"gaia_{key}", "differs": f"only in the {which} table"})
            elif fields:
                rows.append({"key": f"gaia_{key}", "differs": ", ".join(fields)})
        table(rows)
        say(f"{len(rows)} keys differ; the old table has {len(source)} keys, the new one {len(target)}")
        say(f"Fields that the audit log doesn't have are as of {times.written(self.point)}.")
        say("To set one: gaia-keys update KEY --config, or --name")
        self.did("compare", f"{len(source)} keys before, {len(target)} now, {len(rows)} differ")

    def switch(self) -> None:
        """Deploys the target. All at once: the roles lose the old table first, so a canary would fail."""
        self.step(f"Switch the stack {self.stack.name} to {self.target}")
        before = self.stack.parameters["DeploymentType"]
        change = self.stack.prepare({"ExistingTableName": self.target, "DeploymentType": "AllAtOnce"})
        if change is None:
            raise Failed(f"the stack {self.stack.name} has this table already: run the command again")
        with change:
            change.show()
            self.ask("Deploy this? Requests may fail for about a minute. The old table stays.")
            self.replay()  # what was changed while nobody answered
            if before != "AllAtOnce":
                arn = self.describe(self.target)["TableArn"]
                self.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": DEPLOYMENT_TYPE, "Value": before}])
            change.execute()
        self.current = self.target
        self.did("switch", f"{self.stack.name} uses {self.target}")

    def settle(self) -> None:
        """Sets DeploymentType as it was before the switch."""
        arn = self.describe(self.target)["TableArn"]
        before = self.tags(arn).get(DEPLOYMENT_TYPE)
        if before is None:
            return
        self.step(f"Set DeploymentType={before} again")
        if change := self.stack.prepare({"DeploymentType": before}):
            change.execute()
        self.dynamodb.untag_resource(ResourceArn=arn, TagKeys=[DEPLOYMENT_TYPE])
        self.did("settle", f"DeploymentType={before}")

    def bring_back(self, connection: Connection, keys: tuple[str, ...]) -> int:
        """Copies keys that were deleted, and sets the configs of those that were changed, through the API."""
        self.target += "-only"  # nothing is replayed there
        self.check(logs=False)
        self.make()
        was, now = self.items(self.target, self.service), self.items(self.current, self.service)
        missing = [key for key in keys if key[5:] not in was]
        rows = [{"key": key, "change": "none: there was no such key at that time"} for key in missing]
        to_do = []
        for key in (key for key in keys if key not in missing):
            fields, gone = replay.differences(was[key[5:]], now.get(key[5:])), key[5:] not in now
            change = f"set {', '.join(fields)}" if fields else "none: it is as it was"
            rows.append({"key": key, "change": "bring back, with its old secret" if gone else change})
            if gone or fields:
                to_do.append(key)
        table(rows)
        if to_do:
            self.ask(f"Change {len(to_do)} keys in {self.current}?")
        api = connection.api() if any(key[5:] in now for key in to_do) else None
        for key in to_do:
            item = was[key[5:]]
            if api and key[5:] in now:
                config = replay.config_of(item)
                if config is None:
                    raise Failed(f"{key}: its config of that time can't be read")
                api.update(api.find(key), config)
            else:  # another change_id: a deletion of before that arrives late must not find its item
                self.write(self.current, key, None, item | {"change_id": {"S": os.urandom(16).hex()}})
            say(f"{key} is as it was at {times.written(self.point)}")
        self.ask(f"Delete the restored table {self.target}?")
        self.dynamodb.delete_table(TableName=self.target)
        say(f"{self.target} was deleted. To go back: gaia-keys delete KEY for a key that was brought back.")
        return 1 if missing else 0
