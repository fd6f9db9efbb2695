"""Which keys a command is for: the same options for each command that works on many."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import click

from gaia_keys import lossless, times
from gaia_keys.keys import STATES, Key
from gaia_keys.options import PAST, SPAN, Parsed

R = TypeVar("R")


def condition(text: str) -> tuple[str, object]:
    """`FIELD=VALUE`: a field, and its value as JSON has it."""
    field, equals, value = text.partition("=")
    if not (field and equals):
        raise ValueError("expected FIELD=VALUE")
    try:
        found = lossless.loads(value)
    except ValueError:
        found = value
    return field, value if lossless.fault(found) else found


@dataclass
class Filter:
    """What keys must match. Each default matches every key."""

    name: str | None = None
    where: tuple[tuple[str, object], ...] = ()
    state: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    older_than: datetime.datetime | None = None
    unused_for: datetime.timedelta | None = None
    never_used: bool = False
    expires_within: datetime.timedelta | None = None

    def of(self, keys: Iterable[Key]) -> list[Key]:
        now = times.now()
        return [key for key in keys if self.matches(key, now)]

    def matches(self, key: Key, now: datetime.datetime) -> bool:
        config = key.config or {}
        creator = key.details["created_by"] or ""
        owners = {creator, creator.rpartition("/")[2], key.field("owner")}
        return (
            (self.name is None or key.field("name") == self.name)
            and all(key.config is not None and lossless.equal(config.get(field), value) for field, value in self.where)
            and (not self.state or key.state in self.state)
            and (not self.owner or not owners.isdisjoint(self.owner))
            and (self.older_than is None or (key.created is not None and key.created < self.older_than))
            and (self.unused_for is None or self.unused(key, now) > self.unused_for)
            and not (self.never_used and key.last_used)
            and (self.expires_within is None or self.left(key, now) <= self.expires_within)
        )

    def unused(self, key: Key, now: datetime.datetime) -> datetime.timedelta:
        """For how long; not at all if nobody knows since when the key is there."""
        return now - max(key.created, key.last_used or key.created) if key.created else datetime.timedelta.min

    def left(self, key: Key, now: datetime.datetime) -> datetime.timedelta:
        """For how long it is still active; a key that isn't, or never expires, will not expire."""
        return key.expires - now if key.state == "active" and key.expires else datetime.timedelta.max


def filters(function: Callable[..., R]) -> Callable[..., R]:
    """Adds the options of a Filter, which the command gets as `wanted`."""

    @click.option("--name", help="Only keys with this name.")
    @click.option(
        "--where",
        metavar="FIELD=VALUE",
        multiple=True,
        type=Parsed(condition),
        help="Only keys whose config has this top-level field with this value. A value that is valid JSON is compared "
        "as JSON, any other as text: team=search, limit=100, code='\"100\"'. null: no such field. Can be repeated.",
    )
    @click.option(
        "--state", type=click.Choice(STATES), multiple=True, help="Only keys in this state. Can be repeated: any."
    )
    @click.option(
        "--owner",
        metavar="NAME",
        multiple=True,
        help="Only keys that this caller created (created_by, or its part after the last /), or whose config field "
        "owner is this. Can be repeated: any.",
    )
    @click.option(
        "--older-than", type=PAST, metavar="WHEN", help="Only keys created before this date, or so long ago (90d)."
    )
    @click.option("--unused-for", type=SPAN, metavar="SPAN", help="Only keys older than this and unused for as long.")
    @click.option("--never-used", is_flag=True, help="Only keys without a recorded use.")
    @click.option("--expires-within", type=SPAN, metavar="SPAN", help="Only active keys that expire within this time.")
    @functools.wraps(function)
    def command(*arguments: object, **given: object) -> R:
        wanted = Filter(**{name: given.pop(name) for name in Filter.__dataclass_fields__})  # type: ignore[arg-type]
        return function(*arguments, wanted=wanted, **given)

    return command
