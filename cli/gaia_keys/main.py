"""The commands. Each returns the exit status: 0 done, 1 refused; what stops it is an exception, see main."""

import sys

import click
from botocore.exceptions import BotoCoreError, ClientError

from gaia_keys import imports, options, rotation
from gaia_keys.errors import NoSuchKey, Refused, Stopped
from gaia_keys.keys import Key, before, id_of
from gaia_keys.lossless import shown
from gaia_keys.mapping import Mapping
from gaia_keys.options import connected
from gaia_keys.output import print_keys, printable, say


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, no_args_is_help=False)
@click.version_option(package_name="gaia-keys", prog_name="gaia-keys")
def cli():
    """GAIA API keys from a terminal.

    Results go to standard output, all else to standard error. An ID is the first 31 characters of a key.

    Exit status: 0 done, 1 refused (no such key, not valid, some not done), 2 wrong usage or stopped by an error, 130 interrupted.
    """


@cli.command("list")
@click.option("--name", help="Only keys of this name.")
@click.option("--older-than", type=options.When(-1), metavar="WHEN", help="Only keys made before a date, or a span like 90d ago.")
@options.show_keys
@options.output
@connected
def list_keys(api, name, older_than, show_keys, output):
    """List the keys, oldest first."""
    keys = [
        key
        for key in api.keys()
        if (name is None or key.member("name") == name)
        and (older_than is None or (key.created is not None and key.created < older_than))
    ]
    print_keys(keys, output, show_keys)
    hidden = sum(key.api_key is None for key in keys)
    if show_keys and hidden:
        say(f"{hidden} of {len(keys)} by their ids: the service doesn't show these keys")
    return 0


@cli.command()
@click.argument("name")
@options.config_members(required=True)
@options.output
@connected
def create(api, name, output, **members):
    """Make a key and print it."""
    key = api.create(options.changed({}, options.changes(name, **members)))
    print_key(output, key)
    say(f"{id_of(key)} was made")
    return 0


def print_key(output, key, **more):
    """A new key, alone or with what belongs to it. At once, as what follows may fail."""
    click.echo(shown({"key_id": id_of(key), "api_key": key, **more}) if output == "json" else key)


def change(api, key_id, members, output):
    """Sets members of a key's config and leaves all others as they are."""
    config = api.find(key_id).config
    if config is None:
        raise Refused("its config is not one that the service wrote")
    config = options.changed(config, members)
    api.update(key_id, config)
    print_keys([Key(key_id, config)], output)
    return 0


@cli.command()
@options.key_id
@click.option("--name")
@options.config_members(required=False)
@options.output
@connected
def update(api, key_id, name, output, **members):
    """Change some members of a key's config.

    null in --config takes a member out.
    """
    members = options.changes(name, **members)
    if not members:
        raise click.UsageError("nothing to change")
    return change(api, key_id, members, output)


@cli.command()
@options.key_id
@options.output
@connected
def disable(api, key_id, output):
    """Refuse a key until it is enabled again."""
    return change(api, key_id, {"enabled": False}, output)


@cli.command()
@options.key_id
@options.output
@connected
def enable(api, key_id, output):
    """Accept a disabled key again."""
    return change(api, key_id, {"enabled": True}, output)


@cli.command()
@options.key_id
@click.option("--yes", is_flag=True, help="Don't ask.")
@connected
def delete(api, key_id, yes):
    """Delete a key for good."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--yes is needed where nobody can be asked")
        name = api.find(key_id).member("name")
        if not click.confirm(f"Delete {key_id}{f' ({printable(name)})' if name else ''} for good?", err=True):
            return 1
    api.delete(key_id)
    say(f"{key_id} was deleted")
    return 0


@cli.command()
@click.argument("key_id", metavar="[ID]", type=options.KeyId(), required=False)
@click.option("--older-than", type=options.When(-1), metavar="WHEN", help="All keys made before a date, or a span like 90d ago.")
@click.option("--grace", type=options.Span(), required=True, metavar="SPAN", help="How long old keys are accepted; 0: no more.")
@click.option("--expires", type=options.When(1), metavar="WHEN", help="When new keys end; else as long as the old ones lived.")
@click.option("--mapping", metavar="FILE", help="With --older-than: where old,new is written; made for you alone.")
@click.option("--dry-run", is_flag=True, help="List what would be rotated.")
@options.output
@connected
def rotate(api, key_id, older_than, grace, expires, mapping, dry_run, output):
    """Make a new key with the same config, and let the old one expire.

    The new key of one ID is printed. Run again, it goes on where it was interrupted.
    """
    if (key_id is None) == (older_than is None):
        raise click.UsageError("expected either an ID or --older-than")
    if older_than and not (mapping or dry_run):
        raise click.UsageError("--older-than needs --mapping, or --dry-run")
    keys = list(api.keys(key_id and before(key_id)))
    run = rotation.Rotation(api, keys, grace, expires)
    if key_id:
        return rotate_one(run, key_id, dry_run, output)
    written = Mapping(mapping) if mapping and not dry_run else None
    due, obstacles = run.due(older_than, written.known if written else {})
    if dry_run:
        print_keys(due, output)
    for obstacle, count in obstacles.items():
        say(f"{count} {obstacle}: left as they are")
    return 0 if dry_run or not rotation.rotate_all(run, due, written) else 1


def rotate_one(run, key_id, dry_run, output):
    old = run.keys[0] if run.keys else None
    if old is None or old.id != key_id:
        raise NoSuchKey
    obstacle = run.obstacle(old)
    if obstacle:
        raise Refused(f"{key_id}: {obstacle}" + (f", to {old.member('rotated_to')}" if obstacle == rotation.ROTATED else ""))
    if dry_run:
        print_keys([old], output)
        return 0
    limited = run.rotate(old, None, lambda key: print_key(output, key, rotated_from=key_id))
    say(f"{key_id} was rotated; it is refused from {limited['expires_at'] if run.grace else 'now'} on")
    return 0


@cli.command()
@click.option("--permission", type=click.Choice(["read", "write"]), help="May it do this too?")
@click.option("--source-ip", metavar="ADDRESS", help="From there?")
@options.output
@connected
def verify(api, permission, source_ip, output):
    """Ask whether a key is valid.

    The key is read from standard input, or asked for on a terminal without being shown.
    """
    key = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    key = key.strip()
    if not key:
        raise click.UsageError("expected a key on standard input")
    question = {"api_key": key, "permission": permission, "source_ip": source_ip}
    answer = api.verify(question)
    if output == "json":
        click.echo(shown(answer))
    else:
        click.echo(f"valid: {answer['key_id']}" if answer["valid"] else f"not valid: {answer['reason']}")
    return 0 if answer["valid"] else 1


@cli.command("import")
@click.argument("file", metavar="FILE")
@click.option("--mapping", metavar="FILE", help="Where old,new is written; made for you alone.")
@click.option("--dry-run", is_flag=True, help="Let the service check each config, and make nothing.")
@connected
def import_keys(api, file, mapping, dry_run):
    """Make a new key for each key of a list.

    FILE is GAIA's list, [{"api_key": ..., "config": {...}}, ...], or a CSV with a column api_key and either a column config
    (JSON) or a column for each member: permissions, enabled, expires_at, allowed_ips (separated by spaces); other columns
    become texts. Empty cells are left out. "-" reads standard input.

    Run again with the same mapping, within 24 hours and as the same caller, it goes on where it was.
    """
    if not dry_run and not mapping:
        raise click.UsageError("--mapping is needed, or --dry-run")
    rows = imports.read(file)
    written = None if dry_run else Mapping(mapping)
    left = [row for row in rows if not written or row[1] not in written.known]
    if len(left) < len(rows):
        say(f"{len(rows) - len(left)} of {len(rows)} are in {mapping} already")
    return 1 if imports.run(api, left, written) else 0


def status():
    """Runs the command that was typed; each error becomes a line and an exit status."""
    try:
        return cli.main(prog_name="gaia-keys", standalone_mode=False)
    except click.ClickException as error:
        command = error.ctx.command_path if getattr(error, "ctx", None) else "gaia-keys"
        say(f"{command}: {' '.join(error.format_message().split())} (try {command} --help)")
        return 2
    except Refused as error:
        say(f"gaia-keys: {error}")
        return 1
    except (Stopped, BotoCoreError, ClientError, OSError) as error:
        say(f"gaia-keys: {error}")
        return 2
    except (click.Abort, KeyboardInterrupt):
        say("gaia-keys: interrupted; import and rotate go on from here when they are run again")
        return 130


def main():
    sys.exit(status())
