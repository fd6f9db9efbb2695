"""The log groups of the two functions, as a table or as JSON lines."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from gaia_keys import options, times
from gaia_keys.aws import Stack
from gaia_keys.connection import Connection, located
from gaia_keys.output import printable, say, table

# Seconds between two looks, and how late an entry may arrive in its log group.
PAUSE = 3
LATE = datetime.timedelta(minutes=2)
# The functions by the output that names their log group.
GROUPS = {"ApiLogGroup": "api", "AuthorizerLogGroup": "authorizer"}
# An invocation that failed. Lambda's own entries have no level.
ENDED = '(($.type = "platform.report") && ($.record.status != "success"))'
# By kind: the log groups, CloudWatch Logs' filter patterns, and the columns that a narrow terminal does without.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "audit": (("ApiLogGroup",), ('($.message = "audit")',), ("from", "new key", "grants")),
    "denied": (tuple(GROUPS), ('($.message = "denied")',), ("where",)),
    "errors": (
        tuple(GROUPS),
        (f'($.level = "ERROR") || ($.level = "WARN") || {ENDED}', "panicked"),
        (),
    ),
}
# Least widths of columns, so that the lines of --follow are a table too.
WIDTHS = {"time": 14, "action": 8, "reason": 10, "key": 31, "function": 10, "message": 14, "from": 15, "by": 20}


class Entry(NamedTuple):
    """A log entry. `fields` is empty if it isn't JSON. `id`: no two entries have the same."""

    id: tuple[str, ...]
    time: datetime.datetime
    function: str
    text: str
    fields: dict[str, Any]


def entry_of(event: dict[str, Any], function: str) -> Entry:
    try:
        fields = json.loads(event["message"])
    except (ValueError, RecursionError):
        fields = None
    moment = times.at(event["timestamp"] / 1000)
    identity = (event["logStreamName"], str(event["timestamp"]), event["message"])
    return Entry(identity, moment, function, event["message"], fields if isinstance(fields, dict) else {})


def is_wanted(entry: Entry, kind: str, key_id: str | None) -> bool:
    """Whether it is what the filter patterns ask for."""
    fields = entry.fields
    if key_id and key_id not in (fields.get("key_id"), fields.get("rotated_to")):
        return False
    if kind != "errors":
        return fields.get("message") == kind
    if not fields:
        return "panicked" in entry.text
    record = fields.get("record")
    ended = isinstance(record, dict) and record.get("status") not in ("success", None)
    return fields.get("level") in ("ERROR", "WARN") or (fields.get("type") == "platform.report" and ended)


class Search:
    """What is looked for, in which log groups: those of `outputs`, or all that have it."""

    def __init__(self, stack: Stack, kind: str, key_id: str | None, outputs: tuple[str, ...] = ()) -> None:
        self.client, self.kind, self.key_id = stack.client("logs"), kind, key_id
        every, self.patterns, _ = KINDS[kind]
        self.functions = {stack.output(name): GROUPS[name] for name in outputs or every}

    def since(self, start: datetime.datetime) -> list[Entry]:
        """The entries since a time, oldest first."""
        found: dict[tuple[str, ...], Entry] = {}
        for group, function in self.functions.items():
            for pattern in filter(None, map(self.filter, self.patterns)):
                asked = {"logGroupName": group, "filterPattern": pattern, "startTime": int(start.timestamp() * 1000)}
                for page in self.client.get_paginator("filter_log_events").paginate(**asked):
                    entries = [entry_of(event, function) for event in page["events"]]
                    found |= {entry.id: entry for entry in entries if is_wanted(entry, self.kind, self.key_id)}
        return sorted(found.values(), key=lambda entry: entry.time)

    def filter(self, pattern: str) -> str:
        """The pattern as CloudWatch Logs has it, for the key alone if there is one. Empty: text names no key."""
        if not pattern.startswith("("):
            return "" if self.key_id else pattern
        of_key = f' && (($.key_id = "{self.key_id}") || ($.rotated_to = "{self.key_id}"))' if self.key_id else ""
        return f"{{ ({pattern}){of_key} }}"


def text(value: object) -> str:
    return "" if value is None else str(value)


def caller(fields: dict[str, Any]) -> str:
    """Who it was; for a terminal, the name at the end of an ARN."""
    actor = text(fields.get("actor"))
    return re.split("[/:]", actor)[-1] if sys.stdout.isatty() else actor


def row(entry: Entry, kind: str) -> dict[str, str]:
    """What a table shows of an entry."""
    fields, at = entry.fields, entry.time
    first = {"time": f"{at:%m-%d %H:%M:%S}" if sys.stdout.isatty() else times.written(at)}
    if kind == "audit":
        after = text(fields.get("permissions") or fields.get("routes"))
        before = text(fields.get("permissions_before"))
        grants = after if before in ("", after) or not after else f"{before} to {after}"
        return {
            **first,
            "action": text(fields.get("action")),
            "key": text(fields.get("key_id")),
            "by": caller(fields),
            "grants": ("disabled, " if fields.get("enabled") is False else "") + grants,
            "new key": text(fields.get("rotated_to")),
            "from": text(fields.get("source_ip")),
        }
    if kind == "denied":
        where = text(fields.get("api")).rsplit(":", 1)[-1] or (caller(fields) and f"verify by {caller(fields)}")
        return {
            **first,
            "reason": text(fields.get("reason")),
            "key": text(fields.get("key_id")),
            "from": text(fields.get("source_ip")),
            "where": where,
        }
    record = fields.get("record")
    ended = text(record.get("status")) if isinstance(record, dict) else ""
    why = fields.get("cause") or fields.get("error") or ended or ("" if fields else entry.text)
    return {
        **first,
        "function": entry.function,
        "message": text(fields.get("message") or fields.get("type") or "panic"),
        "key": text(fields.get("key_id")),
        "why": text(why),
    }


def print_json(entry: Entry) -> None:
    """One line, in ASCII: nothing in it steers a terminal."""
    fields = entry.fields or {"timestamp": times.written(entry.time), "message": entry.text}
    line = {"function": entry.function, **fields}
    click.echo(json.dumps(line).replace("\x7f", "\\u007f"))


def print_line(entry: Entry, kind: str) -> None:
    """A line of --follow: no column is left out, as later lines may need it."""
    cells = row(entry, kind).items()
    line = "  ".join(
        printable(cell).ljust(WIDTHS.get(name, 0)) for name, cell in cells if cell or name in WIDTHS
    ).rstrip()
    click.echo(line[: shutil.get_terminal_size().columns] if sys.stdout.isatty() else line)


def arriving(search: Search, start: datetime.datetime) -> Iterator[Entry]:
    """All entries since a time, then each that comes, once. Some arrive later than younger ones."""
    seen: dict[tuple[str, ...], datetime.datetime] = {}
    while True:
        begun = times.now()
        for entry in search.since(start):
            if entry.id not in seen:
                yield entry
            seen[entry.id] = entry.time
        start = max(start, begun - LATE)
        seen = {identity: moment for identity, moment in seen.items() if moment >= start}
        time.sleep(PAUSE)


@click.command(
    epilog=options.example(
        "gaia-keys log audit --since 7d", "gaia-keys log denied --key gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV --follow"
    )
    + options.actions("cloudformation:DescribeStacks", "logs:FilterLogEvents     the log groups of both functions")
)
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--key", "key_id", metavar="KEY", type=options.KEY_ID, help="Only entries about this key.")
@click.option(
    "--since",
    type=options.PAST,
    metavar="WHEN",
    default="1d",
    show_default=True,
    help=f"A date, a time, or a span before now ({times.FORMS}).",
)
@click.option("--follow", is_flag=True, help="Print entries as they come, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print each entry as a line of JSON.")
@located
def log(where: Connection, kind: str, key_id: str | None, since: datetime.datetime, follow: bool, as_json: bool) -> int:
    """Show log entries: audit (who changed which key), denied (checks), or errors.

    Times are in UTC. A terminal shows what fits; a pipe and --json get everything. docs/log-entries.md has all fields.
    """
    search = Search(where.deployed(), kind, key_id)
    if follow:
        try:
            for entry in arriving(search, since):
                print_json(entry) if as_json else print_line(entry, kind)
                sys.stdout.flush()
        except KeyboardInterrupt:
            return 0
    found = search.since(since)
    if as_json:
        for entry in found:
            print_json(entry)
    else:
        table([row(entry, kind) for entry in found], optional=KINDS[kind][2])
        if not found:
            say(f"no entries since {times.written(since)}")
    return 0
