"""What is printed: results to standard output, all else to standard error, without secrets unless one was asked for."""

import re
import sys

import click

from gaia_keys import lossless, times
from gaia_keys.errors import Refused
from gaia_keys.keys import ULID


def printable(text):
    """The text, what could steer a terminal written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clean(line):
    """A line fit for standard error: keys are cut to their ids."""
    return re.sub(f"(gaia_{ULID})_[0-9A-Za-z]*", r"\1", printable(line))


def say(line):
    print(clean(line), file=sys.stderr, flush=True)


def describe(key, show_keys=False):
    """A key as JSON has it."""
    created = key.created and times.written(key.created)
    secret = {"api_key": key.api_key} if show_keys else {}
    return {"key_id": key.id, **secret, "state": key.state, "created": created, "config": key.config}


def row(key, show_keys):
    addresses = (key.config or {}).get("allowed_ips") or []
    cells = [
        (show_keys and key.api_key) or key.id,
        key.member("name"),
        key.member("permissions"),
        key.state,
        key.member("expires_at"),
        " ".join(map(str, addresses)) if isinstance(addresses, list) else None,
        key.created and times.written(key.created)[:10],
    ]
    return [printable(cell or "") for cell in cells]


def table(keys, show_keys):
    """One line a key, however long: a terminal wraps it, and it can be searched."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    headings = ["api_key" if show_keys else "key_id", "name", "permissions", "state", "expires_at", "allowed_ips", "created"]
    grid = Table(*headings, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for key in keys:
        grid.add_row(*map(Text, row(key, show_keys)))
    Console(width=100_000).print(grid)


def print_keys(keys, output, show_keys=False):
    if output == "json":
        click.echo(lossless.shown([describe(key, show_keys) for key in keys]))
    else:
        table(keys, show_keys)


class Progress:
    """`with Progress(total) as progress:` counts: a bar on a terminal, a line for each hundredth elsewhere."""

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
    """Works through `items`, pairs of what an item is called and the item itself, of which there are about `total`.

    One that is refused is told, and the next one follows. How many were done, and how many refused.
    """
    refused = 0
    with Progress(total) as progress:
        for name, item in items:
            try:
                work(item)
            except Refused as error:
                refused += 1
                progress.say(f"{name}: {error}")
            progress.step()
    return progress.done - refused, refused
