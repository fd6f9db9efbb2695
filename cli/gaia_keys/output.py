"""What is printed: results to standard output, all else to standard error, without secrets unless one was asked for."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TextIO, TypeVar

import click

from gaia_keys import lossless, times
from gaia_keys.errors import Failed
from gaia_keys.keys import ULID, Key, id_of

T = TypeVar("T")

# The words that a table colours on a terminal, and the columns that hold them.
COLOURS = {
    **dict.fromkeys(("ok", "active"), "green"),
    **dict.fromkeys(("warn", "disabled", "expired", "Conditional"), "yellow"),
    **dict.fromkeys(("FAIL", "unreadable", "True"), "red"),
}
COLOURED = ("state", "status", "result", "replaced")
# Between two columns of a table; columns up to SHORT, as dates are, stay whole, and none is cut below NARROW.
GAP = 2
SHORT = 12
NARROW = 6
HIDDEN: set[str] = set()


def printable(text: str) -> str:
    """The text, with what could steer a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def hide(*secrets: str | None) -> None:
    """From now on, these texts appear in no line on standard error. Shorter ones are no secrets, but parts of words."""
    HIDDEN.update(secret for secret in secrets if secret and len(secret) >= 8)


def clean(line: str) -> str:
    """A line fit for standard error: keys are cut to their IDs, and user and password of a URL are left out."""
    for secret in HIDDEN:
        line = line.replace(secret, "...")
    line = re.sub("//[^/ ]*@", "//", line)
    return re.sub(f"(gaia_{ULID})_[0-9A-Za-z]*", r"\1", printable(line))


def say(line: str) -> None:
    print(clean(line), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Prints a result. Only a table and JSON go another way: each cell of the one is printable, and the other ASCII."""
    print(printable(text), flush=True)


def print_json(value: object) -> None:
    print(lossless.shown(value), flush=True)


def width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, room: int) -> str:
    """The text, or its beginning and an ellipsis."""
    if width(text) <= room:
        return text
    while width(text) >= room:
        text = text[:-1]
    return text + "…"


def fit(widths: dict[str, int], whole: Collection[str], optional: Sequence[str], room: int) -> dict[str, int]:
    """The widths of the columns that fit into a line: without optional ones if need be, then the widest are cut."""
    least = {name: wide if name in whole or wide <= SHORT else NARROW for name, wide in widths.items()}
    for name in optional:
        if sum(least.values()) + GAP * (len(least) - 1) > room:
            least.pop(name, None)
    fitting = {name: widths[name] for name in least}
    for _ in range(sum(fitting.values()) + GAP * (len(fitting) - 1) - room):
        wide, name = max(((wide, name) for name, wide in fitting.items() if wide > least[name]), default=(0, ""))
        if not wide:
            break
        fitting[name] -= 1
    return fitting


def coloured(text: str, colour: str | None, stream: TextIO) -> str:
    """The text, in colour on a terminal."""
    return click.style(text, fg=colour) if colour and stream.isatty() and not os.environ.get("NO_COLOR") else text


def table(rows: Sequence[Mapping[str, object]], as_json: bool = False, optional: Sequence[str] = ()) -> None:
    """Prints rows, which have the same columns, as a table or as JSON.

    Columns without any text are left out. On a terminal, each row is one line: long cells end with an ellipsis, and of
    the `optional` columns, the first ones are left out where there is no room. The first column and IDs of keys are
    never cut. Anywhere else, lines are as long as need be.
    """
    if as_json:
        return print_json([dict(row) for row in rows])
    texts = [{name: "" if cell is None else printable(str(cell)) for name, cell in row.items()} for row in rows]
    names = [name for name in (texts[0] if texts else ()) if any(row[name] for row in texts)]
    widths = {name: max(width(name), *(width(row[name]) for row in texts)) for name in names}
    if sys.stdout.isatty():
        whole = {name for name in names if name == names[0] or any(id_of(row[name]) for row in texts)}
        widths = fit(widths, whole, optional, shutil.get_terminal_size().columns)
    for row in [{name: name.upper() for name in names}, *texts] if names else []:
        cells = []
        for name, room in widths.items():
            cell = cut(row[name], room)
            colour = COLOURS.get(row[name].split(",")[0]) if name in COLOURED else None
            cells.append(coloured(cell, colour, sys.stdout) + " " * (room - width(cell)))
        print((" " * GAP).join(cells).rstrip())
    sys.stdout.flush()


def describe(key: Key, show_keys: bool) -> dict[str, object]:
    """A key as JSON has it."""
    secret = {"api_key": key.api_key} if show_keys else {}
    return {"key_id": key.id, **secret, "state": key.state, **key.details, "config": key.config}


def last_used(key: Key) -> str | None:
    """For people on a terminal; a time that sorts and can be compared elsewhere."""
    if not key.last_used:
        return None
    return times.ago(key.last_used) if sys.stdout.isatty() else key.details["last_used_at"]


def cells(key: Key, show_keys: bool) -> dict[str, str | None]:
    """What a list and `get` show of a key, by heading."""
    return {
        ("key" if show_keys else "id"): (show_keys and key.api_key) or key.id,
        "name": key.field("name"),
        "grants": key.field("permissions") or ", ".join(key.strings("routes")),
        "state": key.state + ", rotated" * bool(key.details["rotated_to"]),
        "expires": key.field("expires_at"),
        "allowed ips": " ".join(key.strings("allowed_ips")),
        "created": key.details["created_at"],
        "last used": last_used(key),
    }


def print_keys(keys: Sequence[Key], as_json: bool, show_keys: bool = False) -> None:
    """A line per key; on a terminal, times are dates."""
    if as_json:
        return print_json([describe(key, show_keys) for key in keys])
    if not keys and sys.stdout.isatty():
        say("no keys")
    rows = [cells(key, show_keys) | {"created": (key.details["created_at"] or "")[:10]} for key in keys]
    if sys.stdout.isatty():
        rows = [row | {"expires": (row["expires"] or "")[:10]} for row in rows]
    table(rows, optional=("created", "allowed ips", "last used"))


def print_key(key: Key, as_json: bool, show_keys: bool) -> None:
    """One key with all its details, a line each."""
    if as_json:
        return print_json(describe(key, show_keys))
    lines = cells(key, show_keys)
    used = lines.pop("last used")
    for change in ("created", "updated"):
        lines[change] = " by ".join(filter(None, (key.details[f"{change}_at"], key.details[f"{change}_by"])))
    lines["last used"] = used
    for name in ("rotated_from", "rotated_to", "root_key_id"):
        lines[name.replace("_", " ")] = key.details[name]
    lines["config"] = lossless.dumps(key.config) if key.config else None
    for heading, value in lines.items():
        result(f"{f'{heading}:':14}{value or '-'}")


class Status:
    """Says each status of a stack once, when it changes; a terminal also shows how long it has been so."""

    def __init__(self) -> None:
        self.last, self.since = "", time.monotonic()

    def say(self, status: str) -> None:
        terminal = sys.stderr.isatty()
        if status != self.last:
            # Over the time of the last one.
            click.echo(" " * 60 * terminal + "\r" * terminal, nl=False, err=True)
            self.last, self.since = status, time.monotonic()
            say(status)
        elif terminal and status.endswith("_IN_PROGRESS"):
            seconds = int(time.monotonic() - self.since)
            click.echo(f"{status} {seconds // 60}:{seconds % 60:02}\r", nl=False, err=True)


def each(items: Sequence[tuple[str, T]], work: Callable[[T], None]) -> tuple[int, int]:
    """Works through `items`, pairs of a name and the item itself. How many were done, and how many failed.

    Prints why one failed, and goes on with the next. Counts: a bar on a terminal, a line per hundred elsewhere.
    """
    failed, terminal = 0, sys.stderr.isatty()
    bar = click.progressbar(items, show_pos=True, file=sys.stderr)
    with bar if terminal else contextlib.nullcontext():
        for count, (name, item) in enumerate(items, 1):
            try:
                work(item)
            except Failed as error:
                failed += 1
                if terminal:  # in place of the bar, which the next step draws again
                    print("\r\x1b[K", end="", file=sys.stderr)
                say(f"{name}: {error}")
            if terminal:
                bar.update(1)
            elif count % 100 == 0:
                say(f"{count} of {len(items)}")
    return len(items) - failed, failed
