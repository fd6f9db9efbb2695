"""Lists of another system's keys: GAIA's JSON or a CSV, and a new key for each entry."""

from __future__ import annotations

import csv
import hashlib
import io
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gaia_keys.api import Api
from gaia_keys.errors import Failed, Stopped
from gaia_keys.lossless import decoded, fault, leaves, loads
from gaia_keys.mapping import Mapping
from gaia_keys.output import each, say


class Entry(NamedTuple):
    """One key of a list: where in the file, the old key, and its config or what is wrong with that."""

    place: str
    old: str
    config: object


def cell(name: str, text: str) -> object:
    if name == "enabled":
        words = {"true": True, "false": False}
        if text.lower() not in words:
            raise ValueError("enabled is neither true nor false")
        return words[text.lower()]
    if name == "routes":
        return [route.strip() for route in text.split(",")]
    return text.split() if name == "allowed_ips" else text


def rows_of_csv(text: str) -> Iterator[tuple[str, object, object]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = reader.fieldnames or []
    if "api_key" not in columns:
        raise Stopped("the CSV has no column api_key")
    if len(set(columns)) != len(columns):
        raise Stopped("the CSV has two columns with the same name")
    for row in reader:
        if len(row) != len(columns) or None in row.values():
            raise Stopped(f"line {reader.line_num}: expected {len(columns)} columns")
        old = row.pop("api_key")
        config: object
        try:
            if "config" in columns:
                config = loads(row["config"])
            else:
                config = {name: cell(name, text) for name, text in row.items() if text != ""}
        except ValueError as error:
            config = error
        yield f"line {reader.line_num}", old, config


def rows_of_json(text: str) -> Iterator[tuple[str, object, object]]:
    try:
        entries = loads(text)
    except ValueError as error:
        raise Stopped(f"not a list of keys: {error}") from None
    if not isinstance(entries, list):
        raise Stopped('not a list of keys: expected [{"api_key": ..., "config": {...}}, ...]')
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, ValueError):
            raise Stopped(f"entry {number}: {entry}")
        entry = entry if isinstance(entry, dict) else {}
        yield f"entry {number}", entry.get("api_key"), entry.get("config")


def read(path: str) -> list[Entry]:
    """The entries of a file; "-" is standard input."""
    try:
        text = decoded(sys.stdin.buffer.read() if path == "-" else pathlib.Path(path).read_bytes())
    except OSError as error:
        raise Stopped(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Stopped(f"{path} is neither UTF-8 nor UTF-16") from None
    try:
        rows = list(rows_of_json(text) if text.lstrip()[:1] in ("[", "{") else rows_of_csv(text))
    except csv.Error as error:
        raise Stopped(f"{path}: {error}") from None
    seen: dict[str, Entry] = {}
    for place, old, config in rows:
        if not isinstance(old, str) or not old:
            raise Stopped(f"{path}: {place} has no api_key")
        if old in seen:
            raise Stopped(f"{path}: {place} has the same api_key as {seen[old].place}")
        seen[old] = Entry(place, old, config)
    return list(seen.values())


def idempotency_key(old: str) -> str:
    """The same new key is created for the same old one, which is only sent hashed. Errors: Failed."""
    try:
        return "import-" + hashlib.sha256(f"gaia-api-keys import of {old}".encode()).hexdigest()
    except UnicodeEncodeError:
        raise Failed("api_key: unpaired UTF-16 surrogate") from None


def masked(error: Failed, config: object) -> str:
    """What the service says, without the values that it repeats: a cell in the wrong column may be an old key."""
    text = str(error)
    for value in sorted((leaf for leaf in leaves(config) if isinstance(leaf, str)), key=len, reverse=True):
        text = text.replace(f"'{value}'", "'...'")
        text = text.replace(value, "...") if len(value) >= 8 else text
    return text


def run(api: Api, entries: Sequence[Entry], mapping: Mapping | None) -> int:
    """Creates a key for each entry; without a mapping, only checks. How many failed."""

    def work(entry: Entry) -> None:
        config = entry.config
        if wrong := fault(config):
            raise Failed(str(wrong))
        if not isinstance(config, dict):
            raise Failed("config is not an object")
        header = idempotency_key(entry.old)
        try:
            if mapping:
                mapping.begin(entry.old)
                mapping.add(entry.old, api.create(config, header))
            else:
                api.check(config)
        except Failed as error:
            if mapping:
                mapping.drop()
            raise Failed(masked(error, config)) from None

    if mapping:
        mapping.drop()  # a key without a new one is asked for again
    done, failed = each([(entry.place, entry) for entry in entries], work)
    say(f"{done} {'imported' if mapping else 'can be imported'}, {failed} failed")
    return failed
