"""What the audit log says of each key since a point in time, and what that makes of a table restored to it."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gaia_keys import lossless, times
from gaia_keys.errors import Failed
from gaia_keys.keys import id_of

Item = dict[str, Any]  # as DynamoDB has it: {"id": {"S": ...}, ...}

# The config fields with a meaning, which audit entries have, and how those that are lists are separated there.
FIELDS = (
    "permissions",
    "routes",
    "enabled",
    "expires_at",
    "allowed_ips",
    "usage_plan_key",
)
SEPARATORS = {"routes": ", ", "allowed_ips": " "}
# A rotation takes up to 10 seconds, and its new key's ID has the time at which it began.
SLACK = datetime.timedelta(seconds=10)
# Clocks of instances differ by less. No ID comes twice, so what seems to follow a deletion came before it.
# But a key that was brought back may be changed later on.
SKEW = datetime.timedelta(minutes=1)
KEPT_AFTER_EXPIRY = datetime.timedelta(days=30)
LONGEST = 4096  # bytes of a config
# From Crockford's digits to those that `int` reads.
BASE_32 = str.maketrans("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "0123456789ABCDEFGHIJKLMNOPQRSTUV")


@dataclass(frozen=True)
class Event:
    """A change of one key. `fields` are those that it set, and all with a meaning if `whole`."""

    at: datetime.datetime
    key_id: str
    action: str
    actor: str
    fields: dict[str, Any] = field(default_factory=dict)
    whole: bool = False
    rotated_to: str | None = None
    close: bool = False  # to another change, so that their order is not certain


@dataclass(frozen=True)
class Omission:
    """A mistake: what an actor changed from one time until another."""

    actor: str
    since: datetime.datetime
    until: datetime.datetime

    def covers(self, event: Event) -> bool:
        return event.actor == self.actor and self.since <= event.at < self.until


@dataclass(frozen=True)
class Step:
    """What happens to one key's item: `after` replaces `before`. None: there is no item."""

    key_id: str
    change: str
    event: Event
    before: Item | None = None
    after: Item | None = None
    note: str = ""

    @property
    def writes(self) -> bool:
        return self.before is not self.after


def created(key_id: str) -> datetime.datetime:
    """When a key's creation began, which its ID says."""
    return times.at(int(key_id[5:15].translate(BASE_32), 32) / 1000)


def events(messages: Iterable[str]) -> list[Event]:
    """The changes in the messages of audit entries, each once, by time."""
    entries = [entry_of(message) for message in set(messages)]
    logged = {entry["key_id"] for entry in entries if entry["action"] == "create"}
    logged |= {entry["rotated_to"] for entry in entries if entry["action"] == "rotate"}
    found = [event for entry in entries for event in events_of(entry, logged)]
    return sorted(found, key=lambda event: (event.at, event.key_id))


def entry_of(message: str) -> dict[str, Any]:
    entry = lossless.loads(message)
    if not isinstance(entry, dict) or lossless.fault(entry):
        raise Failed(f"an audit entry can't be read: {message!r}")
    return entry


def events_of(entry: dict[str, Any], logged: set[str]) -> Iterator[Event]:
    """An entry's changes. A retry made none, but may be all that is known of one whose entry was lost."""
    key_id, new_id, action = entry["key_id"], entry.get("rotated_to"), entry["action"]
    at, actor = times.parse(entry["timestamp"]), entry.get("actor", "")
    fields = {name: entry[name] for name in FIELDS if name in entry}
    fields |= {name: fields[name].split(SEPARATORS[name]) for name in SEPARATORS if name in fields}
    whole = "enabled" in entry  # or the config could not be read
    if action == "retry":
        made = new_id or key_id
        if made in logged or not id_of(made):
            return
        at = created(made)
        if new_id:
            yield Event(at, key_id, "rotate", actor, {"expires_at": entry["old_expires_at"]}, False, new_id)
        yield Event(at, made, "create", actor, fields, whole)
    elif action == "rotate" and new_id:  # it describes the new key; the old one differs in its expiry
        yield Event(at, key_id, "rotate", actor, fields | {"expires_at": entry["old_expires_at"]}, whole, new_id)
        yield Event(at, new_id, "create", actor, fields, whole)
    else:
        yield Event(at, key_id, action, actor, fields, whole)


def last_changes(changes: Iterable[Event]) -> dict[str, Event]:
    """Each key's last change, with what the ones before it set."""
    last: dict[str, Event] = {}
    for event in changes:
        before = last.get(event.key_id)
        if before and before.action == "delete" and event.at - before.at < SKEW:
            continue
        if before and event.action != "delete":
            close = event.at - before.at < datetime.timedelta(seconds=1) and before.action != "create"
            event = replace(event, rotated_to=event.rotated_to or before.rotated_to, close=close)
            if not event.whole:
                event = replace(event, fields=before.fields | event.fields, whole=before.whole)
        last[event.key_id] = event
    return last


def plan(
    changes: list[Event],
    since: datetime.datetime,
    omission: Omission | None,
    target: dict[str, Item],
    source: dict[str, Item],
    now: datetime.datetime,
) -> list[Step]:
    """What makes the changes again in `target`, its items by ULID. Keys created since come from `source`."""
    changes = [event for event in changes if event.at >= since - SLACK]
    omitted = [event for event in changes if omission and omission.covers(event)]
    last = last_changes(event for event in changes if not (omission and omission.covers(event)))
    unwanted = {event.key_id for event in omitted if event.action == "create"}
    deleted = {event.key_id: event for event in omitted if event.action == "delete"}
    steps = []
    for key_id, event in last.items():
        item, other = target.get(key_id[5:]), source.get(key_id[5:])
        if event.action == "delete":
            steps.append(Step(key_id, "delete", event, item))
        elif item:
            steps.append(changed(key_id, event, item, now))
        elif key_id in unwanted:
            steps.append(Step(key_id, "not restored", event, note="its creation is left out"))
        elif other and event.whole:
            steps.append(copied(key_id, event, other, now))
        elif key_id in deleted:
            before = times.written(deleted[key_id].at.replace(microsecond=0))
            note = f"created and deleted since: gaia-keys restore --to {before} --only {key_id}"
            steps.append(Step(key_id, "not restored", event, note=note))
        else:
            steps.append(Step(key_id, "not restored", event, note="created since, and lost: issue a new key"))
    return steps


def changed(key_id: str, event: Event, item: Item, now: datetime.datetime) -> Step:
    """The change made again, unless the item shows a later one."""
    since = times.parsed(text(item, "updated_at"))
    if since and event.at < since <= now + SKEW:
        return Step(key_id, "", event, item, item)
    config = config_of(item)
    if config is None:
        return Step(key_id, "not changed", event, item, item, "its stored config can't be read, so checks of it fail")
    after = with_fields(config, event)
    rotated = event.rotated_to and event.rotated_to[5:]
    if after == config and rotated in (None, text(item, "rotated_to")):
        return Step(key_id, "", event, item, item)
    result = with_config(item, after, config, now) | updated(event)
    if rotated:
        result["rotated_to"] = {"S": rotated}
    return Step(key_id, "update", event, item, result, note(result, event))


def copied(key_id: str, event: Event, other: Item, now: datetime.datetime) -> Step:
    """A key created since, from the other table: what it may do is what the log says, whatever the item says."""
    config = config_of(other)
    if config is None or text(other, "root_key_id") is None:
        return Step(key_id, "not restored", event, note="created since, and its item can't be read: issue a new key")
    result = with_config(other, with_fields(config, event), None, now)
    for name in ("updated_at", "updated_by", "rotated_to"):
        result.pop(name, None)
    if event.action != "create":
        result |= updated(event)
    if event.rotated_to:
        result["rotated_to"] = {"S": event.rotated_to[5:]}
    return Step(key_id, "copy", event, None, result, note(result, event))


def updated(event: Event) -> Item:
    at = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"updated_at": {"S": at}, "updated_by": {"S": event.actor}}


def note(item: Item, event: Event) -> str:
    notes = []
    if len(item["config"]["S"].encode()) > LONGEST:
        notes.append(f"checks fail until you shorten its config to {LONGEST} bytes")
    if event.close:
        notes.append("two changes within a second: check which was the last")
    return "; ".join(notes)


def text(item: Item, name: str) -> str | None:
    value = item.get(name, {}).get("S")
    return value if isinstance(value, str) else None


def config_of(item: Item) -> dict[str, Any] | None:
    """The config, with its numbers' digits, or None if it can't be read."""
    try:
        config = lossless.loads(text(item, "config") or "")
    except ValueError:
        return None
    return config if isinstance(config, dict) and not lossless.fault(config) else None


def with_fields(config: dict[str, Any], event: Event) -> dict[str, Any]:
    """The config with the change's fields. What means the same stays as it is written; all others stay, in order."""
    after = dict(config)
    for name in FIELDS if event.whole else event.fields:
        wanted = event.fields.get(name)
        if same(name, config.get(name), wanted):
            continue
        if wanted is None:
            after.pop(name)
        else:
            after[name] = wanted
    return after


def same(name: str, stored: object, wanted: object) -> bool:
    if name == "enabled":
        return (stored is not False) == (wanted is not False)
    if name == "expires_at" and (time := times.parsed(stored)):
        return time.replace(microsecond=0) == times.parsed(wanted)
    return lossless.equal(stored, wanted)


def with_config(item: Item, config: dict[str, Any], before: dict[str, Any] | None, now: datetime.datetime) -> Item:
    """The item with this config, and the attributes that follow from it as the service writes them."""
    result = item | {"change_id": {"S": os.urandom(16).hex()}}
    if config != before:
        result["config"] = {"S": lossless.encoded(config).decode()}
        result.pop("ttl", None)
        if expires_at := times.parsed(config.get("expires_at")):
            result["ttl"] = {"N": str(int((max(now, expires_at) + KEPT_AFTER_EXPIRY).timestamp()))}
    return result


def differences(one: Item | None, other: Item | None) -> list[str]:
    """The names of the config fields that differ between a key's two items."""
    configs = [item and config_of(item) for item in (one, other)]
    if None in configs:
        return [] if configs[0] == configs[1] else ["config"]
    mine, its = ({name: lossless.dumps(value) for name, value in (config or {}).items()} for config in configs)
    return sorted(name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name))
