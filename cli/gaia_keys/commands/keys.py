"""What operators do to keys. Each command returns the exit status: 0 done, 1 failed; what stops it is an exception."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import click

from gaia_keys import changes, imports, options, rotation, times
from gaia_keys.api import Api
from gaia_keys.connection import connected
from gaia_keys.errors import Failed, Stopped
from gaia_keys.filters import Filter, filters
from gaia_keys.keys import Config, Key, id_of
from gaia_keys.mapping import Mapping
from gaia_keys.options import example
from gaia_keys.output import print_json, print_key, print_keys, result, say

# `list --exit-code`, where there are keys to list.
FOUND = 3
# Why a key that was asked for isn't shown.
UNDISCLOSED = "this deployment doesn't disclose secrets, or"
# What `list` sorts by. A key that never expires is the last to, and one that was never used is unused for longest.
LATEST, EARLIEST = (moment.replace(tzinfo=times.UTC) for moment in (datetime.datetime.max, datetime.datetime.min))
ORDERS: dict[str, Callable[[Key], tuple[bool, str] | datetime.datetime]] = {
    "created_at": lambda key: key.created or EARLIEST,
    "expires_at": lambda key: key.expires or LATEST,
    "last_used_at": lambda key: key.last_used or EARLIEST,
    "name": lambda key: (key.field("name") is None, key.field("name") or ""),
}


@click.command(
    "list",
    epilog=example(
        "gaia-keys list --unused-for 90d",
        "gaia-keys list --where team=search --state active",
        "gaia-keys list --expires-within 14d --sort expires_at --json",
    ),
)
@filters
@click.option(
    "--sort",
    type=click.Choice(list(ORDERS)),
    default="created_at",
    show_default=True,
    help="Sort by this, lowest first.",
)
@click.option(
    "--exit-code", is_flag=True, help=f"Exit with status {FOUND} if any key is listed, for cron jobs and scripts."
)
@options.show_keys
@options.as_json
@connected
def list_keys(api: Api, wanted: Filter, sort: str, exit_code: bool, show_keys: bool, as_json: bool) -> int:
    """List keys.

    Keys must match all filters that you give. A terminal that is too narrow shows fewer columns, and cuts long names.
    """
    every = list(api.keys())
    keys = wanted.of(every)
    print_keys(sorted(keys, key=ORDERS[sort]), as_json, show_keys)
    hidden = sum(key.api_key is None for key in keys)
    if show_keys and hidden:
        say(f"{hidden} of {len(keys)} keys are shown by ID only: {UNDISCLOSED} their root key isn't configured")
    if (wanted.never_used or wanted.unused_for is not None) and keys and not any(key.last_used for key in every):
        say("no key has a recorded use: check that the stack's parameter TrackUsage is true")
    return FOUND if exit_code and keys else 0


@click.command(epilog=example("gaia-keys get gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV", 'gaia-keys get - --json <<<"$KEY"'))
@options.key_id
@options.show_keys
@options.as_json
@connected
def get(api: Api, key_id: str, show_keys: bool, as_json: bool) -> int:
    """Show a key with its details."""
    key = api.find(key_id)
    print_key(key, as_json, show_keys)
    if show_keys and key.api_key is None:
        say(f"the key is shown by ID only: {UNDISCLOSED} its root key isn't configured")
    return 0


def stated(name: str) -> str:
    if not name.strip():
        raise ValueError("expected a name that isn't empty")
    return name


@click.command(
    epilog=example(
        "gaia-keys create reports --permissions read --expires 90d",
        "gaia-keys create search --route 'GET /items/*' --route 'POST /search'",
    )
)
@click.argument("name", type=options.Parsed(stated))
@options.config_fields
@options.as_json
@connected
def create(api: Api, name: str, fields: Config, config: Config, as_json: bool) -> int:
    """Create a key and print it.

    Give either --permissions or --route: a key without them grants nothing.
    """
    if "permissions" not in fields:
        raise click.UsageError("expected --permissions or --route")
    key = api.create(changes.changed({"name": name}, fields) | config)
    say(f"{id_of(key)} was created")
    print_new(key, as_json)
    return 0


def print_new(key: str, as_json: bool, **more: str | None) -> None:
    """A new key, alone or with what belongs to it: last, so that the rest is said even if this can't be written."""
    if as_json:
        print_json({"key_id": id_of(key), "api_key": key, **more})
    else:
        result(key)


def change(api: Api, key_id: str, fields: Config, as_json: bool) -> int:
    """Sets fields of a key's config, leaves all others as they are, and shows the key."""
    changes.update(api, key_id, fields)
    try:
        key = api.find(key_id)
    except (Failed, Stopped) as error:
        raise Stopped(f"{key_id} was changed, but can't be shown: {error}") from None
    print_keys([key], as_json)
    return 0


@click.command(
    epilog=example(
        "gaia-keys update gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --expires 2w",
        'gaia-keys update gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --clear-allowed-ips --config \'{"team": "search"}\'',
    )
)
@options.key_id
@click.option("--name", help="New name. An empty one removes it.")
@options.config_fields
@click.option("--clear-allowed-ips", is_flag=True, help="Remove allowed_ips: the key works from any address.")
@options.as_json
@connected
def update(
    api: Api,
    key_id: str,
    name: str | None,
    fields: Config,
    clear_allowed_ips: bool,
    config: Config,
    as_json: bool,
) -> int:
    """Change some fields of a key's config.

    All other fields stay as they are. Each list is replaced entirely. --permissions and --route replace each other.
    `--expires never` removes expires_at, and null in --config removes a field.
    """
    if clear_allowed_ips and "allowed_ips" in fields:
        raise click.UsageError("expected either --allowed-ip or --clear-allowed-ips")
    if clear_allowed_ips:
        fields["allowed_ips"] = None
    if name is not None:
        fields = {"name": name or None, **fields}
    fields |= config
    if not fields:
        raise click.UsageError("nothing to change")
    return change(api, key_id, fields, as_json)


@click.command(epilog=example("gaia-keys disable gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"))
@options.key_id
@options.as_json
@connected
def disable(api: Api, key_id: str, as_json: bool) -> int:
    """Deny a key until it is enabled again."""
    return change(api, key_id, {"enabled": False}, as_json)


@click.command(epilog=example("gaia-keys enable gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"))
@options.key_id
@options.as_json
@connected
def enable(api: Api, key_id: str, as_json: bool) -> int:
    """Enable a disabled key."""
    return change(api, key_id, {"enabled": True}, as_json)


@click.command(epilog=example("gaia-keys delete gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --yes"))
@click.argument("key_ids", metavar="KEY...", nargs=-1, required=True, type=options.KEY_ID)
@options.yes
@connected
def delete(api: Api, key_ids: tuple[str, ...], yes: bool) -> int:
    """Delete keys permanently."""
    options.promptable(yes)
    if len(key_ids) == 1:
        keys = [api.find(key_ids[0])]
    else:
        listed = {key.id: key for key in api.keys()}  # noqa: SIM118, not a dict's
        missing = [key_id for key_id in dict.fromkeys(key_ids) if key_id not in listed]
        if missing:
            raise Failed(f"no such key: {', '.join(missing)}")
        keys = [listed[key_id] for key_id in dict.fromkeys(key_ids)]
    if not yes:
        print_keys(keys, as_json=False)
        which = "this key" if len(keys) == 1 else f"these {len(keys)} keys"
        if not click.confirm(f"Delete {which} permanently?", err=True):
            return 1
    failed = 0
    for key in keys:
        try:
            changes.delete(api, key)
            say(f"{key.id} was deleted")
        except Failed as error:
            if len(keys) == 1:
                raise
            failed += 1
            say(f"{key.id}: {error}")
    return 1 if failed else 0


def grace_period(text: str) -> datetime.timedelta:
    span = times.span(text)
    if span > times.span("365d"):
        raise ValueError("expected 365d at most")
    return span


@click.command(
    epilog=example(
        "gaia-keys rotate gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --grace 7d",
        "gaia-keys rotate --older-than 90d --grace 7d --mapping mapping.csv",
    )
)
@click.argument("key_id", metavar="[KEY]", type=options.KEY_ID, required=False)
@filters
@click.option(
    "--grace",
    type=options.Parsed(grace_period),
    required=True,
    metavar="SPAN",
    help="How long the old keys keep working. With 0 they expire immediately.",
)
@click.option(
    "--expires",
    type=options.EXPIRY,
    metavar="WHEN",
    help="Expiry of the new keys: a date, a time, a span from now, or never. Default: the old key's lifetime.",
)
@click.option("--mapping", metavar="FILE", help="CSV file to write old and new keys to (created with mode 0600).")
@click.option("--dry-run", is_flag=True, help="With --older-than: list the keys to rotate, and rotate none.")
@click.option("--yes", is_flag=True, help="With --older-than: don't ask for confirmation.")
@options.as_json
@connected
def rotate(
    api: Api,
    key_id: str | None,
    wanted: Filter,
    grace: datetime.timedelta,
    expires: datetime.datetime | str | None,
    mapping: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Replace a key by a new one with the same config. The old one expires.

    The new key of a single KEY is printed; the new keys of --older-than go to --mapping. Keys must match all filters
    that you give. If a rotation is interrupted, run the same command again within 24 hours: it continues, and creates
    no second key.
    """
    if (key_id is None) == (wanted.older_than is None):
        raise click.UsageError("expected either a KEY or --older-than")
    if key_id:
        if mapping or dry_run or yes or wanted != Filter():
            raise click.UsageError("filters, --mapping, --dry-run and --yes go with --older-than")
        new, old_expires_at, later = rotation.rotate_one(api, key_id, grace, expires)
        if later:
            when = f"expires at {old_expires_at}" if old_expires_at else "never expires"
            remedy = f"To deny it now: gaia-keys disable {key_id}"
            say(f"{key_id} was rotated before and extended since: it {when}. {remedy}")
        else:
            say(f"{key_id} was rotated; it is denied from {old_expires_at} on")
        print_new(new, as_json, rotated_from=key_id, rotated_from_expires_at=old_expires_at)
        return 1 if later else 0
    if not (mapping or dry_run):
        raise click.UsageError("--older-than needs --mapping or --dry-run")
    options.promptable(yes or dry_run)
    written = Mapping(mapping) if mapping and not dry_run else None
    many = rotation.Rotation(api, wanted, written.known if written else {}, written.pending if written else None)
    if not written:
        print_keys(many.due, as_json)
    for obstacle, count in many.obstacles.items():
        say(f"{count} not rotated: {obstacle}")
    if not written:
        return 0
    denied = times.written(times.add(times.now(), grace))
    question = f"Rotate {len(many.due)} keys? The old ones are denied from {denied} on."
    if many.due and not yes and not click.confirm(question, err=True):
        return 1
    return 1 if many.run(written, grace, expires) else 0


@click.command(
    context_settings={"allow_extra_args": True},
    epilog=example(
        'gaia-keys verify --permission read <<<"$KEY"',
        "gaia-keys verify --route 'POST /search' --source-ip 192.0.2.7 <<<\"$KEY\"",
    ),
)
@click.option("--permission", type=click.Choice(["read", "write"]), help="Also check that the key has this permission.")
@click.option("--route", metavar="'METHOD /PATH'", help="Also check that the key grants this route.")
@click.option("--source-ip", metavar="ADDRESS", help="Also check that the key may be used from this IP address.")
@options.as_json
@connected
def verify(api: Api, permission: str | None, route: str | None, source_ip: str | None, as_json: bool) -> int:
    """Check whether a key is valid.

    It reads the key from standard input. A terminal prompts for the key and doesn't show it.
    """
    if click.get_current_context().args:
        raise click.UsageError('expected the key on standard input: gaia-keys verify <<<"$KEY"')
    conditions = {"permission": permission, "route": route, "source_ip": source_ip}
    given = {name: value for name, value in conditions.items() if value is not None}
    verdict = api.verify(options.read_secret(), given)
    if as_json:
        print_json(verdict.response)
    else:
        result(f"valid: {verdict.key_id}" if verdict.key_id else f"not valid: {verdict.reason}")
    return 0 if verdict.key_id else 1


@click.command(
    "import", epilog=example("gaia-keys import keys.csv --dry-run", "gaia-keys import keys.csv --mapping mapping.csv")
)
@click.argument("file", metavar="FILE")
@click.option("--mapping", metavar="FILE", help="CSV file to write old and new keys to (created with mode 0600).")
@click.option("--dry-run", is_flag=True, help="Check each config with the service, and create no keys.")
@connected
def import_keys(api: Api, file: str, mapping: str | None, dry_run: bool) -> int:
    """Create a new key for each key of a list.

    FILE is GAIA's list, [{"api_key": ..., "config": {...}}, ...], or a CSV with a column api_key and either a column
    config (JSON) or a column per field. There, routes are separated by commas and allowed_ips by spaces, enabled is
    true or false, and all else is a string. Empty cells are left out. "-" reads standard input.

    If an import is interrupted, run the same command again within 24 hours, as the same caller: it continues.
    """
    if not dry_run and not mapping:
        raise click.UsageError("expected --mapping or --dry-run")
    entries = imports.read(file)
    written = Mapping(mapping) if mapping and not dry_run else None
    left = [entry for entry in entries if not written or entry.old not in written.known]
    if len(left) < len(entries):
        say(f"{len(entries) - len(left)} of {len(entries)} are in {mapping} already")
    return 1 if imports.run(api, left, written) else 0
