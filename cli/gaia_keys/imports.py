"""Lists of another system's keys: GAIA's JSON or a CSV, and a new key for each entry."""

import csv
import hashlib
import io
import pathlib
import sys

from gaia_keys.errors import Refused, Stopped
from gaia_keys.lossless import fault, loads
from gaia_keys.output import each, say


def cell(name, text):
    if name == "enabled":
        words = {"true": True, "false": False}
        if text.lower() not in words:
            raise ValueError("enabled is neither true nor false")
        return words[text.lower()]
    return text.split() if name == "allowed_ips" else text


def rows_of_csv(text):
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = reader.fieldnames or []
    if "api_key" not in columns:
        raise Stopped("the CSV has no column api_key")
    if len(set(columns)) != len(columns):
        raise Stopped("the CSV has two columns of one name")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise Stopped(f"line {reader.line_num}: {len(columns)} columns are expected")
        place, old = f"line {reader.line_num}", row.pop("api_key")
        try:
            if "config" in columns:
                config = loads(row["config"])
            else:
                config = {name: cell(name, text) for name, text in row.items() if text != ""}
        except ValueError as error:
            config = error
        rows.append((place, old, config))
    return rows


def rows_of_json(text):
    try:
        entries = loads(text)
    except ValueError as error:
        raise Stopped(f"no list of keys: {error}") from None
    if not isinstance(entries, list):
        raise Stopped("no list of keys: expected [{\"api_key\": ..., \"config\": {...}}, ...]")
    rows = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, ValueError):
            raise Stopped(f"entry {number}: {entry}")
        entry = entry if isinstance(entry, dict) else {}
        rows.append((f"entry {number}", entry.get("api_key"), entry.get("config")))
    return rows


def read(path):
    """(place, old key, config or what is wrong with it) of each entry of a file; "-" is standard input."""
    try:
        text = (sys.stdin.buffer.read() if path == "-" else pathlib.Path(path).read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Stopped(f"{path}: {error}") from None
    try:
        rows = rows_of_json(text) if text.lstrip()[:1] in ("[", "{") else rows_of_csv(text)
    except csv.Error as error:
        raise Stopped(f"{path}: {error}") from None
    seen = {}
    for place, old, config in rows:
        if not isinstance(old, str) or not old:
            raise Stopped(f"{path}: {place} has no api_key")
        if old in seen:
            raise Stopped(f"{path}: {place} has the api_key of {seen[old]}")
        seen[old] = place
    return rows


def create(api, old, config):
    """The new key for an old one, the same again if asked again. The old key itself stays here."""
    return api.create(config, "import-" + hashlib.sha256(f"gaia-api-keys import of {old}".encode()).hexdigest())


def run(api, rows, mapping):
    """Makes a key for each entry that isn't in the mapping; without a mapping, only checks. How many were refused."""

    def work(entry):
        old, config = entry
        if fault(config):
            raise Refused(fault(config))
        if not isinstance(config, dict):
            raise Refused("config is no object")
        if mapping:
            mapping.add(old, create(api, old, config))
        else:
            api.check(config)

    done, refused = each([(place, (old, config)) for place, old, config in rows], len(rows), work)
    say(f"{done} {'imported' if mapping else 'can be imported'}, {refused} refused")
    return refused
