"""What operators do to keys. Each command returns the exit status: 0 done, 1 failed; what stops it is an exception."""

import datetime

import click

from gaia_keys import changes, imports, options, rotation, times
from gaia_keys.errors import Failed, Stopped
from gaia_keys.connection import connected
from gaia_keys.keys import id_of
from gaia_keys.lossless import shown
from gaia_keys.mapping import Mapping
from gaia_keys.options import example
from gaia_keys.output import print_key, print_keys, printable, result, say

# `list --exit-code`, where there are keys to list.
FOUND = 3
# What `list` sorts by. A key that never expires is the last to, and one that was never used is unused for longest.
LATEST, EARLIEST = (moment.replace(tzinfo=times.UTC) for moment in (datetime.datetime.max, datetime.datetime.min))
ORDERS = {
    "created_at": lambda key: key.created or EARLIEST,
    "expires_at": lambda key: key.expires or LATEST,
    "last_used_at": lambda key: key.last_used or EARLIEST,
    "name": lambda key: (key.field("name") is None, key.field("name")),
}


@click.command(
    "list", epilog=example("gaia-keys list --unused-for 90d", "gaia-keys list --expires-within 14d --sort expires_at --json")
)
@click.option("--name", help="List only keys with this name.")
@click.option("--older-than", type=options.When(-1), metavar="WHEN", help="List only keys created before this date, or so long ago (90d).")
@click.option("--unused-for", type=options.Span(), metavar="SPAN", help="List only keys older than this and unused for as long.")
@click.option("--never-used", is_flag=True, help="List only keys without a recorded use.")
@click.option("--expires-within", type=options.Span(), metavar="SPAN", help="List only active keys that expire within this time.")
@click.option("--sort", type=click.Choice(list(ORDERS)), default="created_at", show_default=True, help="Sort by this field, lowest first.")
@click.option("--exit-code", is_flag=True, help=f"Exit with status {FOUND} if any key is listed, for cron jobs and scripts.")
@options.show_keys
@options.as_json
@connected
def list_keys(api, name, older_than, unused_for, never_used, expires_within, sort, exit_code, show_keys, as_json):
    """List keys.

    Keys must match all filters that you give.
    """
    now = times.now()
    every = list(api.keys())
    keys = [
        key
        for key in every
        if (name is None or key.field("name") == name)
        and (older_than is None or (key.created and key.created < older_than))
        and (unused_for is None or (key.created and now - max(key.created, key.last_used or key.created) > unused_for))
        and not (never_used and key.last_used)
        and (expires_within is None or (key.state == "active" and key.expires and key.expires - now <= expires_within))
    ]
    print_keys(sorted(keys, key=ORDERS[sort]), as_json, show_keys)
    hidden = sum(key.api_key is None for key in keys)
    if show_keys and hidden:
        say(f"{hidden} of {len(keys)} keys are shown by ID only: this deployment doesn't disclose secrets, or their root key isn't configured")
    if (never_used or unused_for is not None) and keys and not any(key.last_used for key in every):
        say("no key has a recorded use: check that the stack's parameter TrackUsage is true")
    return FOUND if exit_code and keys else 0


@click.command(epilog=example("gaia-keys get gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV", 'gaia-keys get - --json <<<"$KEY"'))
@options.key_id
@options.show_keys
@options.as_json
@connected
def get(api, key_id, show_keys, as_json):
    """Show a key with its details."""
    key = api.find(key_id)
    print_key(key, as_json, show_keys)
    if show_keys and key.api_key is None:
        say("the key is shown by ID only: this deployment doesn't disclose secrets, or its root key isn't configured")
    return 0


@click.command(
    epilog=example(
        "gaia-keys create reports --permissions read --expires 90d",
        "gaia-keys create search --route 'GET /items/*' --route 'POST /search'",
    )
)
@click.argument("name")
@options.config_fields
@options.as_json
@connected
def create(api, name, as_json, config, **fields):
    """Create a key and print it.

    Give either --permissions or --route: a key without them grants nothing.
    """
    if not (fields["permissions"] or fields["route"]):
        raise click.UsageError("expected --permissions or --route")
    key = api.create(changes.changed({}, options.changes(name, **fields)) | config)
    say(f"{id_of(key)} was created")
    print_new(key, as_json)
    return 0


def print_new(key, as_json, **more):
    """A new key, alone or with what belongs to it: last, so that the rest is said even if this can't be written."""
    click.echo(shown({"key_id": id_of(key), "api_key": key, **more}) if as_json else key)


def change(api, key_id, fields, as_json):
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
        "gaia-keys update gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --clear-allowed-ips --config '{\"team\": \"search\"}'",
    )
)
@options.key_id
@click.option("--name", help="New name. An empty one removes it.")
@options.config_fields
@click.option("--clear-allowed-ips", is_flag=True, help="Remove allowed_ips: the key works from any address.")
@options.as_json
@connected
def update(api, key_id, name, clear_allowed_ips, as_json, config, **fields):
    """Change some fields of a key's config.

    All other fields stay as they are. Each list is replaced entirely. --permissions and --route replace each other.
    `--expires never` removes expires_at, and null in --config removes a field.
    """
    if clear_allowed_ips and fields["allowed_ip"]:
        raise click.UsageError("expected either --allowed-ip or --clear-allowed-ips")
    fields = options.changes(name, **fields) | ({"allowed_ips": None} if clear_allowed_ips else {}) | config
    if not fields:
        raise click.UsageError("nothing to change")
    return change(api, key_id, fields, as_json)


@click.command(epilog=example("gaia-keys disable gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"))
@options.key_id
@options.as_json
@connected
def disable(api, key_id, as_json):
    """Deny a key until it is enabled again."""
    return change(api, key_id, {"enabled": False}, as_json)


@click.command(epilog=example("gaia-keys enable gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV"))
@options.key_id
@options.as_json
@connected
def enable(api, key_id, as_json):
    """Enable a disabled key."""
    return change(api, key_id, {"enabled": True}, as_json)


@click.command(epilog=example("gaia-keys delete gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --yes"))
@options.key_id
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@connected
def delete(api, key_id, yes):
    """Delete a key permanently."""
    options.promptable(yes)
    key = api.find(key_id)
    name = key.field("name")
    if not yes and not click.confirm(f"Delete {key_id}{f' ({printable(name)})' if name else ''} permanently?", err=True):
        return 1
    changes.delete(api, key)
    say(f"{key_id} was deleted")
    return 0


@click.command(
    epilog=example(
        "gaia-keys rotate gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --grace 7d",
        "gaia-keys rotate --older-than 90d --grace 7d --mapping mapping.csv",
    )
)
@click.argument("key_id", metavar="[KEY]", type=options.KeyId(), required=False)
@click.option("--older-than", type=options.When(-1), metavar="WHEN", help="Rotate all keys created before this date, or so long ago (90d).")
@click.option(
    "--grace",
    type=options.Span("365d"),
    required=True,
    metavar="SPAN",
    help="How long the old keys keep working. With 0 they expire immediately.",
)
@click.option(
    "--expires",
    type=options.When(1, never=True),
    metavar="WHEN",
    help="Expiry of the new keys: a date, a time, a span from now, or never. Default: the same lifetime as the old key.",
)
@click.option("--mapping", metavar="FILE", help="CSV file to write old and new keys to (created with mode 0600).")
@click.option("--dry-run", is_flag=True, help="With --older-than: list the keys to rotate, and rotate none.")
@click.option("--yes", is_flag=True, help="With --older-than: don't ask for confirmation.")
@options.as_json
@connected
def rotate(api, key_id, older_than, grace, expires, mapping, dry_run, yes, as_json):
    """Replace a key: create a new one with the same config and expire the old one.

    The new key of a single KEY is printed; the new keys of --older-than go to --mapping. If a rotation is interrupted, run
    the same command again within 24 hours: it continues, and creates no second key.
    """
    if (key_id is None) == (older_than is None):
        raise click.UsageError("expected either a KEY or --older-than")
    if key_id:
        if mapping or dry_run or yes:
            raise click.UsageError("--mapping, --dry-run and --yes go with --older-than")
        new, old_expires_at, later = rotation.rotate_one(api, key_id, grace, expires)
        if later:
            when = f"expires at {old_expires_at}" if old_expires_at else "never expires"
            say(f"{key_id} was rotated before and extended since: it {when}. To deny it now: gaia-keys disable {key_id}")
        else:
            say(f"{key_id} was rotated; it is denied from {old_expires_at} on")
        print_new(new, as_json, rotated_from=key_id, rotated_from_expires_at=old_expires_at)
        return 1 if later else 0
    if not (mapping or dry_run):
        raise click.UsageError("--older-than needs --mapping or --dry-run")
    options.promptable(yes or dry_run)
    written = None if dry_run else Mapping(mapping)
    many = rotation.Rotation(api, older_than, written.known if written else {}, written and written.pending)
    if dry_run:
        print_keys(many.due, as_json)
    for obstacle, count in many.obstacles.items():
        say(f"{count} not rotated: {obstacle}")
    if dry_run:
        return 0
    denied = times.written(times.add(times.now(), grace))
    if many.due and not yes and not click.confirm(f"Rotate {len(many.due)} keys? The old ones are denied from {denied} on.", err=True):
        return 1
    return 1 if many.run(written, grace, expires) else 0


@click.command(
    epilog=example(
        'gaia-keys verify --permission read <<<"$KEY"',
        "gaia-keys verify --route 'POST /search' --source-ip 192.0.2.7 <<<\"$KEY\"",
    )
)
@click.option("--permission", type=click.Choice(["read", "write"]), help="Also check that the key has this permission.")
@click.option("--route", metavar="'METHOD /PATH'", help="Also check that the key grants this route.")
@click.option("--source-ip", metavar="ADDRESS", help="Also check that the key may be used from this IP address.")
@options.as_json
@connected
def verify(api, as_json, **conditions):
    """Check whether a key is valid.

    It reads the key from standard input. A terminal prompts for the key and doesn't show it.
    """
    body = {"api_key": options.read_secret()} | {name: value for name, value in conditions.items() if value is not None}
    verdict = api.verify(body)
    if as_json:
        click.echo(shown(verdict.response))
    else:
        result(f"valid: {verdict.key_id}" if verdict.key_id else f"not valid: {verdict.reason}")
    return 0 if verdict.key_id else 1


@click.command("import", epilog=example("gaia-keys import keys.csv --dry-run", "gaia-keys import keys.csv --mapping mapping.csv"))
@click.argument("file", metavar="FILE")
@click.option("--mapping", metavar="FILE", help="CSV file to write old and new keys to (created with mode 0600).")
@click.option("--dry-run", is_flag=True, help="Check each config with the service, and create no keys.")
@connected
def import_keys(api, file, mapping, dry_run):
    """Create a new key for each key of a list.

    FILE is GAIA's list, [{"api_key": ..., "config": {...}}, ...], or a CSV with a column api_key and either a column config
    (JSON) or a column per field: permissions, routes (separated by commas), enabled, expires_at, allowed_ips (separated by
    spaces). Other columns become strings. Empty cells are left out. "-" reads standard input.

    If an import is interrupted, run the same command again within 24 hours, as the same caller: it continues.
    """
    if not dry_run and not mapping:
        raise click.UsageError("expected --mapping or --dry-run")
    rows = imports.read(file)
    written = None if dry_run else Mapping(mapping)
    left = [row for row in rows if not written or row[1] not in written.known]
    if len(left) < len(rows):
        say(f"{len(rows) - len(left)} of {len(rows)} are in {mapping} already")
    return 1 if imports.run(api, left, written) else 0
