"""AWS with the caller's credentials: clients, and a deployed stack."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from gaia_keys.errors import Failed, Stopped
from gaia_keys.output import Status, say, table

T = TypeVar("T")
# Bytes that CloudFormation takes in a request.
LONGEST_TEMPLATE = 51_200
# What may not be replaced, and what is lost if it is.
KEPT = {
    "Table": "the API keys",
    "KmsKey": "every API key",
    "ApiLogs": "the audit log",
    "Api": "ApiUrl and ApiArn, which callers and their policies name",
}


def wait_for(look: Callable[[], T | None]) -> T:
    """What `look` returns once it is not None. Asks at first five times a second, then every five seconds."""
    pause = 0.2
    while (found := look()) is None:
        time.sleep(pause)
        pause = min(pause * 1.5, 5)
    return found


class Account:
    """The clients of one AWS account and Region. botocore finds credentials: variables, profile, role, SSO."""

    def __init__(self, profile: str | None, region: str | None) -> None:
        import botocore.session  # takes a third of a second, so only commands that call AWS wait for it

        self.session = botocore.session.Session(profile=profile)
        self.region = region or os.environ.get("AWS_REGION") or self.session.get_config_variable("region")
        self.clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if not self.region:
            raise Stopped("no AWS Region; use --region, AWS_REGION or a profile with one")
        if service not in self.clients:
            self.clients[service] = self.session.create_client(service, region_name=self.region)
        return self.clients[service]


class Stack:
    """A deployed stack of template.yaml, as it is now: each property asks CloudFormation."""

    def __init__(self, account: Account, name: str) -> None:
        self.account, self.name = account, name

    def client(self, service: str) -> Any:
        return self.account.client(service)

    def describe(self) -> dict[str, Any]:
        client = self.client("cloudformation")
        try:
            found: dict[str, Any] = client.describe_stacks(StackName=self.name)["Stacks"][0]
        except client.exceptions.ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise Stopped(f"there is no stack {self.name} in {self.account.region} of this account") from None
        return found

    @property
    def parameters(self) -> dict[str, str]:
        return {each["ParameterKey"]: each.get("ParameterValue", "") for each in self.describe().get("Parameters", [])}

    @property
    def outputs(self) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self.describe().get("Outputs", [])}

    def output(self, name: str) -> str:
        value = self.outputs.get(name)
        if value is None:
            raise Stopped(f"the stack {self.name} has no output {name}: is it a stack of GAIA API keys?")
        return value

    def resources(self, kind: str) -> dict[str, str]:
        """The physical IDs of all resources of a type, by logical ID."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in pages.search("StackResourceSummaries[]")
            if each["ResourceType"] == kind and each.get("PhysicalResourceId")
        }

    def resource(self, logical_id: str) -> str:
        """The physical ID of a resource."""
        detail = self.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        physical_id: str = detail["StackResourceDetail"]["PhysicalResourceId"]
        return physical_id

    def at_rest(self) -> str | None:
        """The status, or None while an update is under way."""
        status: str = self.describe()["StackStatus"]
        return None if status.endswith("_IN_PROGRESS") else status

    def update(self, start: Callable[[], object], end: str = "UPDATE_COMPLETE") -> None:
        """Starts an update and waits; says each status. Failed, with CloudFormation's reasons, if it ends otherwise."""
        before, status = self.describe(), Status()
        start()
        begun = False

        def ended() -> str | None:
            nonlocal begun
            found = self.describe()
            now: str = found["StackStatus"]
            # While it is as before, CloudFormation has accepted the update and not begun it.
            begun = begun or any(found.get(name) != before.get(name) for name in ("LastUpdatedTime", "StackStatus"))
            status.say(now)
            return now if begun and not now.endswith("_IN_PROGRESS") else None

        if (ending := wait_for(ended)) != end:
            raise Failed(f"the stack {self.name} is {ending}: {self.reasons()}")

    def reasons(self) -> str:
        """Why the last update failed, by resource."""
        events = self.client("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        reasons = []
        for event in events:  # newest first
            if event["ResourceStatus"] == "UPDATE_IN_PROGRESS" and event["LogicalResourceId"] == self.name:
                break
            if event["ResourceStatus"].endswith("_FAILED"):
                reasons.append(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}")
        return "; ".join(reversed(reasons)) or "see its events"

    def template(self) -> dict[str, Any]:
        """The deployed template as it was uploaded: SAM resolves some parameters when it transforms that.

        A template that is too long for a request is the one that CloudFormation has, transformed or not.
        """
        found = self.client("cloudformation").get_template(StackName=self.name, TemplateStage="Original")
        body = found["TemplateBody"]
        text = body if isinstance(body, str) else json.dumps(body)
        return {"TemplateBody": text} if len(text.encode()) <= LONGEST_TEMPLATE else {"UsePreviousTemplate": True}

    def prepare(self, changes: dict[str, str]) -> Change | None:
        """A change set with the deployed template and all other parameters kept, or None if it would change nothing."""
        known = self.parameters
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise Stopped(
                f"the stack {self.name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        client = self.client("cloudformation")
        made = client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"gaia-keys-{time.time_ns()}",
            **self.template(),
            Capabilities=["CAPABILITY_IAM"],
            Tags=self.describe().get("Tags", []),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": changes[name]}
                if name in changes
                else {"ParameterKey": name, "UsePreviousValue": True}
                for name in known
            ],
        )
        return Change(self, made["Id"]).created()


class Change:
    """A change set. `with change:` discards it unless it is executed."""

    def __init__(self, stack: Stack, change_id: str) -> None:
        self.stack, self.id = stack, change_id
        self.client = stack.client("cloudformation")
        self.executed = False

    def created(self) -> Change | None:
        """Waits until CloudFormation has compared. Failed if it rejects the change, None if nothing would change."""

        def compared() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.describe_change_set(ChangeSetName=self.id)
            return found if found["Status"] in ("CREATE_COMPLETE", "FAILED") else None

        found = wait_for(compared)
        if found["Status"] == "CREATE_COMPLETE":
            return self
        self.discard()
        reason = found.get("StatusReason", "")
        if "didn't contain changes" in reason or "No updates are to be performed" in reason:
            return None
        raise Failed(f"CloudFormation rejects this change: {reason}")

    def show(self) -> list[dict[str, str]]:
        """Shows what it would do to which resource, and returns all of it."""
        pages = self.client.get_paginator("describe_change_set").paginate(ChangeSetName=self.id)
        rows = [
            {
                "action": each["Action"],
                "resource": each["LogicalResourceId"],
                "type": each["ResourceType"],
                "replaced": each.get("Replacement", ""),
            }
            for each in pages.search("Changes[].ResourceChange || `[]`")
        ]
        # CloudFormation can't tell whether the others change: they refer to something that does.
        certain = [row for row in rows if row["replaced"] != "Conditional" or row["resource"] in KEPT]
        table(certain)
        if len(rows) > len(certain):
            say(f"{len(rows) - len(certain)} more refer to these, and change only if their names do")
        return rows

    def discard(self) -> None:
        self.client.delete_change_set(ChangeSetName=self.id)

    def execute(self) -> None:
        self.executed = True
        self.stack.update(lambda: self.client.execute_change_set(ChangeSetName=self.id))

    def __enter__(self) -> Change:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.executed:
            self.discard()
