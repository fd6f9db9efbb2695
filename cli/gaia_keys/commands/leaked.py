"""A key that somebody has who shouldn't: stop it everywhere, and show what is known of its use."""

from __future__ import annotations

import datetime
from typing import Any

import click

from gaia_keys import changes, gateways, options, rotation, times
from gaia_keys.api import Api
from gaia_keys.aws import Stack
from gaia_keys.commands import log
from gaia_keys.connection import Connection, located
from gaia_keys.errors import Failed
from gaia_keys.keys import ID_LENGTH, Key, id_of
from gaia_keys.output import print_key, say, table

# How far back denied uses are looked for.
DAYS = 7
QUERY = 'filter key_id = "{}" | stats count(*) as requests, min(@timestamp), max(@timestamp) by sourceIp, route, status'


@click.command(
    epilog=options.example(
        "gaia-keys leaked gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --rotate",
        'gaia-keys leaked - --disable --yes <<<"$KEY"',
    )
    + options.actions(
        "execute-api:Invoke             the management API",
        "cloudformation:DescribeStacks  the stack's outputs",
        "apigateway:GET                 the APIs of the Region, their authorizers and stages",
        "apigateway:DELETE              the caches: /restapis/*/stages/*/cache/authorizers, and the same under /apis",
        "logs:FilterLogEvents           the authorizer's log",
    )
)
@click.argument("key", metavar="KEY", type=options.Parsed(options.key_or_id))
@click.option("--rotate", "how", flag_value="rotate", help="Create a key with the same config, and expire this one.")
@click.option("--disable", "how", flag_value="disable", help="Disable the key.")
@options.yes
@located
def leaked(connection: Connection, key: str, how: str | None, yes: bool) -> int:
    """Stop a key that leaked.

    Rotates or disables the key, empties the caches of all APIs that use the stack's authorizer, checks that the key is
    denied, and shows its last uses. Rotate it if a service still needs it: the new key is printed last. A key that was
    rotated before is disabled, and its successor stays. Give the whole key if you have it: then the service checks it.

    You can run it again at any time, after an interruption too. To go back: gaia-keys enable KEY; after a rotation,
    gaia-keys update KEY --expires never, and delete the new key.
    """
    if yes and not how:
        raise click.UsageError("--yes needs --rotate or --disable")
    options.promptable(yes)
    stack, api, key_id = connection.deployed(), connection.api(), key[:ID_LENGTH]
    found = api.look_up(key_id)
    if found:
        print_key(found, False, False)
    else:
        say(f"{key_id} doesn't exist: it was deleted, or another key leaked. A gateway's cache may still have it")
    if found and not how:
        say("Rotate: its service fails until it has the new key. Disable: it fails until you create another key")
        how = click.prompt("Rotate or disable it?", type=click.Choice(["rotate", "disable"]), err=True)
    doing = f"{str(how).capitalize()} {key_id}, and empty" if found else "Empty"
    if not yes and not click.confirm(f"{doing} the caches of all APIs that use the authorizer?", err=True):
        return 1
    new = stop(api, found, how) if found else None
    caches = gateways.empty_caches(stack)
    table(caches)
    if not caches:
        say("no API of this account and Region uses the authorizer")
    denied = is_denied(api, key, key_id)
    show_uses(stack, found, key_id)
    logs = sorted({row["access log"] for row in caches if row["access log"]})
    say(f"Next: find who used the key, in Logs Insights on {', '.join(logs) or 'the access logs of your APIs'}:")
    say(f"  {QUERY.format(key_id)}")
    if new:
        say("Give its owner the new key:")
        click.echo(new)
    if not denied:
        raise Failed(f"{key_id} is still valid: somebody changed it meanwhile. Run this again, with --disable")
    if any(row["cache"] != "emptied" for row in caches):
        raise Failed("not all caches could be emptied: they may allow the key until their time is over. Run this again")
    return 0


def stop(api: Api, key: Key, how: str | None) -> str | None:
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
        say(f"{successor} replaces it, and stays. To show it to its owner: gaia-keys get {successor} --show-keys")
    return new


def is_denied(api: Api, key: str, key_id: str) -> bool:
    """Whether a key is denied, as the service says if the secret is known, otherwise by its state. Says it too."""
    found = api.look_up(key_id)
    whole = key if len(key) > ID_LENGTH else (found and found.api_key)
    if whole:
        reason, how = api.verify(whole, {}).reason, "verify"
    elif found:
        reason, how = (None if found.state == "active" else found.state), "its state; the secret isn't known"
    else:
        reason, how = "not_found", "it isn't in the table"
    say(f"{key_id} is {f'denied: {reason}' if reason else 'NOT denied'} ({how})")
    if reason == "invalid":
        say("That is another secret than this key's, or the key's root key isn't configured any more")
    return bool(reason)


def show_uses(stack: Stack, key: Key | None, key_id: str) -> None:
    """What the table and the authorizer's log know: the last allowed use, and the denied ones."""
    last = key.details["last_used_at"] if key else None
    say(f"Last allowed use: {last or 'none recorded'}. It is to the hour, without those that a gateway's cache allowed")
    since = times.now() - datetime.timedelta(days=DAYS)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in log.Search(stack, "denied", key_id, ("AuthorizerLogGroup",)).since(since):
        reason, address, at = entry.fields["reason"], entry.fields.get("source_ip", ""), entry.fields["timestamp"]
        row = rows.setdefault((reason, address), {"reason": reason, "source ip": address, "denied": 0, "first": at})
        row |= {"denied": row["denied"] + 1, "last": at}
    say(f"Denied uses in the last {DAYS} days: {sum(row['denied'] for row in rows.values()) or 'none'}")
    table(list(rows.values()))
