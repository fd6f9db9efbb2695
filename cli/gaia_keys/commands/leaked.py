"""A key that somebody has who shouldn't: stop it everywhere, and show what is known of its use."""

from __future__ import annotations

import datetime
import functools
import json
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, Sequence

import click

from gaia_keys import changes, options, rotation, times
from gaia_keys.connection import located
from gaia_keys.errors import Failed, NoSuchKey
from gaia_keys.keys import ID_LENGTH, id_of
from gaia_keys.output import print_key, printable, say

if TYPE_CHECKING:
    from gaia_keys.aws import Stack
    from gaia_keys.connection import Connection

# How far back denied uses are looked for.
DAYS = 7
QUERY = 'filter key_id = "{}" | stats count(*) as requests, min(@timestamp), max(@timestamp) by sourceIp, route, status'


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """Prints rows that have the same columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    grid = Table(*map(str.upper, rows[0]), box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*(Text(printable(str(cell))) for cell in row.values()))
    Console(width=100_000).print(grid)


def actions(*rows: tuple[str, str]) -> str:
    """The part of an epilog that lists IAM actions, and what each is for."""
    width = max(len(action) for action, _ in rows)
    return "\n  ".join(["\n\n\b\nIAM actions:", *(f"{action:{width}}  {purpose}" for action, purpose in rows)])


class KeyOrId(click.ParamType):
    """A key, or its ID. What was typed may be a secret, so no error repeats it."""

    name = "key"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text: str = options.read_secret() if value == "-" else value
        return text if id_of(text) else self.fail("expected a key, or its ID: gaia_ and 26 characters", param, ctx)


@click.command(
    epilog=options.example("gaia-keys leaked gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --rotate", 'gaia-keys leaked - --disable --yes <<<"$KEY"')
    + actions(
        ("execute-api:Invoke", "the management API: get, update, rotate and verify"),
        ("cloudformation:DescribeStacks", "the stack's outputs"),
        ("apigateway:GET", "the APIs of the Region, their authorizers and stages"),
        ("apigateway:DELETE", "empties /restapis/*/stages/*/cache/authorizers and /apis/*/stages/*/cache/authorizers"),
        ("logs:FilterLogEvents", "denied uses in the authorizer's log"),
    )
)
@click.argument("key", metavar="KEY", type=KeyOrId())
@click.option("--rotate", "how", flag_value="rotate", help="Create a new key with the same config, and expire this one now.")
@click.option("--disable", "how", flag_value="disable", help="Disable the key.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@located
def leaked(connection: Connection, key: str, how: str | None, yes: bool) -> int:
    """Stop a key that leaked.

    Rotates or disables the key, empties the caches of all APIs that use the stack's authorizer, checks that the key is
    denied, and shows its last uses. Rotate it if a service still needs it; the new key is printed last. A key that was
    rotated before is disabled, and its successor stays. Give the whole key if you have it: then the service itself checks it.

    You can run it again at any time, after an interruption too. To go back: gaia-keys enable KEY; after a rotation,
    gaia-keys update KEY --expires never, and delete the new key.
    """
    if not (how and yes):
        options.promptable(False)
    stack, api, key_id = connection.deployed(), connection.api(), key[:ID_LENGTH]
    found = find(api, key_id)
    if found is None:
        say(f"{key_id} doesn't exist: it was deleted, or never created. A gateway may still have it in its cache")
    else:
        print_key(found, False, False)
        how = how or click.prompt("Rotate or disable it?", type=click.Choice(["rotate", "disable"]), err=True)
    doing = f"{str(how).capitalize()} {key_id}, and empty" if found and found.state == "active" else "Empty"
    if not yes and not click.confirm(f"{doing} the caches of all APIs that use the authorizer?", err=True):
        return 1
    new = stop(api, found, how) if found else None
    emptied = list(empty_caches(stack))
    table(emptied or [{"api": "none", "result": "no API of this account and Region uses the authorizer"}])
    denied = verdict(api, key, key_id)
    show_uses(stack, found, key_id)
    failed = [row["api"] for row in emptied if row["result"] != "emptied"]
    logs = sorted({row["access log"] for row in emptied if row["access log"]})
    say(f"Next: find the addresses that used the key, in Logs Insights on {', '.join(logs) or 'the access logs of your APIs'}:")
    say(f"  {QUERY.format(key_id)}")
    if new:
        say("Give its owner the new key:")
        click.echo(new)
    if not denied:
        raise Failed(f"{key_id} is still valid: somebody changed it meanwhile. Run this again, with --disable")
    if failed:
        raise Failed(f"the cache of {', '.join(failed)} could not be emptied: it may allow the key until its time is over. Run this again")
    return 0


def find(api: Any, key_id: str) -> Any:
    """The key with its details, or None."""
    try:
        return api.find(key_id)
    except NoSuchKey:
        return None


def stop(api: Any, key: Any, how: str | None) -> str | None:
    """Denies a key from now on. Returns the new key, if the service gives one."""
    new = None
    if how == "rotate" and key.state != "disabled":
        try:
            new, _, _ = rotation.rotate_one(api, key.id, datetime.timedelta(0), None)
            say(f"{key.id} was rotated to {id_of(new)}")
        except Failed as error:  # the 409 of a key in its grace period advises to delete the successor
            say(f"{key.id} can't be rotated: {'it was rotated already' if key.details['rotated_to'] else error}")
        key = api.find(key.id)
    if key.state == "active":  # --disable, or in the grace period of an earlier rotation, or extended since
        changes.update(api, key.id, {"enabled": False})
        say(f"{key.id} was disabled")
    successor = key.details["rotated_to"]
    if successor and not new:
        say(f"{successor} replaces it, and stays. To show that key to its owner: gaia-keys get {successor} --show-keys")
    return new


def verdict(api: Any, key: str, key_id: str) -> bool:
    """Says whether a key is denied: as the service does, if the secret is known, otherwise by its state."""
    found = find(api, key_id)
    whole = key if len(key) > ID_LENGTH else found and found.api_key
    if whole:
        said = api.verify({"api_key": whole})
        reason, how = said.reason, "verify"
    else:
        reason, how = (None if found.state == "active" else found.state) if found else "not_found", "its state; the secret isn't known"
    say(f"{key_id} is denied: {reason} ({how})" if reason else f"{key_id} is NOT denied ({how})")
    if reason == "invalid":
        say("The text has another secret than this key, or the key's root key isn't configured any more")
    return bool(reason)


def empty_caches(stack: Stack) -> Iterator[dict[str, str]]:
    """Empties the authorizer's cache of each stage of each API that uses the stack's authorizer. What it did, by stage."""
    import botocore.exceptions

    function = stack.output("AuthorizerArn").rsplit(":", 1)[0]  # without the alias
    for name, stage, log, form, empty in (*rest_stages(stack, function), *http_stages(stack, function)):
        try:
            empty()
            result = "emptied"
        except botocore.exceptions.ClientError as error:
            result = error.response["Error"]["Code"]
        group = log.rsplit("log-group:", 1)[-1].removesuffix(":*") if "authorizer.key_id" in form else ""
        yield {"api": name, "stage": stage, "result": result, "access log": group}


def uses(uris: Iterable[str], function: str) -> bool:
    """Whether one of the authorizers' URIs names the function, with an alias or without."""
    return any(f"{function}:" in uri or f"{function}/" in uri for uri in uris)


def rest_stages(stack: Stack, function: str) -> Iterator[tuple[str, str, str, str, Any]]:
    """Name, stage, access log, its format, and what empties the cache."""
    client = stack.client("apigateway")
    for api in client.get_paginator("get_rest_apis").paginate().search("items[] || `[]`"):
        pages = client.get_paginator("get_authorizers").paginate(restApiId=api["id"])
        if uses(pages.search("items[].authorizerUri || `[]`"), function):
            for stage in client.get_stages(restApiId=api["id"]).get("item", []):
                log, name = stage.get("accessLogSettings", {}), stage["stageName"]
                empty = functools.partial(client.flush_stage_authorizers_cache, restApiId=api["id"], stageName=name)
                yield f"REST {api['name']} ({api['id']})", name, log.get("destinationArn", ""), log.get("format", ""), empty


def http_stages(stack: Stack, function: str) -> Iterator[tuple[str, str, str, str, Any]]:
    """The same of HTTP APIs. WebSocket APIs don't cache."""
    client = stack.client("apigatewayv2")
    for api in client.get_paginator("get_apis").paginate().search("Items[?ProtocolType=='HTTP'] || `[]`"):
        pages = client.get_paginator("get_authorizers").paginate(ApiId=api["ApiId"])
        if uses(pages.search("Items[].AuthorizerUri || `[]`"), function):
            for stage in client.get_paginator("get_stages").paginate(ApiId=api["ApiId"]).search("Items[] || `[]`"):
                log, name = stage.get("AccessLogSettings", {}), stage["StageName"]
                empty = functools.partial(client.reset_authorizers_cache, ApiId=api["ApiId"], StageName=name)
                yield f"HTTP {api['Name']} ({api['ApiId']})", name, log.get("DestinationArn", ""), log.get("Format", ""), empty


def show_uses(stack: Stack, key: Any, key_id: str) -> None:
    """What the table and the authorizer's log know: the last allowed use, and the denied ones."""
    last = key.details["last_used_at"] if key else None
    say(f"Last allowed use: {last or 'none recorded'}, to the hour, without those that a gateway allowed from its cache")
    pages = stack.client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=stack.output("AuthorizerLogGroup"),
        startTime=int((times.now() - datetime.timedelta(days=DAYS)).timestamp() * 1000),
        filterPattern=f'{{ $.message = "denied" && $.key_id = "{key_id}" }}',
    )
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for text in pages.search("events[].message"):
        entry = json.loads(text) if text.startswith("{") else {}
        if (entry.get("message"), entry.get("key_id")) != ("denied", key_id):  # emulators ignore such patterns
            continue
        at, where = str(entry["timestamp"]), (str(entry["reason"]), str(entry.get("source_ip", "")))
        row = rows.setdefault(where, {"reason": where[0], "source ip": where[1], "denied": "0", "first": at, "last": at})
        row |= {"denied": str(int(row["denied"]) + 1), "last": at}
    say(f"Denied uses in the last {DAYS} days: {'' if rows else 'none'}")
    table(list(rows.values()))
