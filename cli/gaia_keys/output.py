"""What is printed: results to standard output, all else to standard error, without secrets unless one was asked for."""

import re
import sys

import click

from gaia_keys import lossless, times
from gaia_keys.errors import Failed
from gaia_keys.keys import ULID


def printable(text):
    """The text, with what could steer a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clean(line):
    """A line fit for standard error: keys are cut to their IDs."""
    return re.sub(f"(gaia_{ULID})_[0-9A-Za-z]*", r"\1", printable(line))


def say(line):
    print(clean(line), file=sys.stderr, flush=True)


def result(text):
    """Prints a result. Only a table and JSON go another way: each cell of the one is printable, and the other ASCII."""
    print(printable(text), flush=True)


def describe(key, show_keys):
    """A key as JSON has it."""
    secret = {"api_key": key.api_key} if show_keys else {}
    return dict(key_id=key.id, **secret, state=key.state, **key.details, config=key.config)


def last_used(key):
    """For people on a terminal; a time that sorts and can be compared elsewhere."""
    if not key.last_used:
        return None
    return times.ago(key.last_used) if sys.stdout.isatty() else key.details["last_used_at"]


def cells(key, show_keys):
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


def print_keys(keys, as_json, show_keys=False):
    """One line per key, however long: a terminal wraps it, and it can be searched."""
    if as_json:
        return click.echo(lossless.shown([describe(key, show_keys) for key in keys]))
    if not keys:
        return say("no keys") if sys.stdout.isatty() else None

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [cells(key, show_keys) | {"created": (key.details["created_at"] or "")[:10]} for key in keys]
    grid = Table(*map(str.upper, rows[0]), box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*(Text(printable(cell or "")) for cell in row.values()))
    Console(width=100_000).print(grid)


def print_key(key, as_json, show_keys):
    """One key with all its details, a line each."""
    if as_json:
        return click.echo(lossless.shown(describe(key, show_keys)))
    lines = cells(key, show_keys)
    used = lines.pop("last used")
    for change in ("created", "updated"):
        lines[change] = " by ".join(filter(None, (key.details[f"{change}_at"], key.details[f"{change}_by"])))
    lines["last used"] = used
    for name in ("rotated_from", "rotated_to", "root_key_id"):
        lines[name.replace("_", " ")] = key.details[name]
    lines["config"] = key.config and lossless.dumps(key.config)
    for heading, value in lines.items():
        result(f"{f'{heading}:':14}{value or '-'}")


class Progress:
    """`with Progress(total) as progress:` counts: a bar on a terminal, a line per hundred elsewhere."""

    def __init__(self, total):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TimeRemainingColumn

        console = Console(stderr=True, highlight=False)
        self.total, self.done, self.terminal = total, 0, console.is_terminal
        self.bar = Bar(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, disable=not self.terminal)
        self.task = self.bar.add_task("", total=total)

    def step(self):
        self.done += 1
        self.bar.advance(self.task)
        if not self.terminal and self.done % 100 == 0:
            say(f"{self.done} of {self.total}")

    def say(self, line):
        self.bar.console.print(clean(line), markup=False, soft_wrap=True)

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()


def each(items, total, work):
    """Works through `items`, pairs of a name and the item itself, `total` in all.

    Prints why one failed, and goes on with the next. How many were done, and how many failed.
    """
    failed = 0
    with Progress(total) as progress:
        for name, item in items:
            try:
                work(item)
            except Failed as error:
                failed += 1
                progress.say(f"{name}: {error}")
            progress.step()
    return progress.done - failed, failed
