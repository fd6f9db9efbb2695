"""Times and spans, as they are typed, shown and stored in configs."""

from __future__ import annotations

import datetime
import re

UTC = datetime.timezone.utc
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
FORMS = "90d, 12h, 2w"
RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def at(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, UTC)


def now() -> datetime.datetime:
    """In whole seconds, as configs have it."""
    return datetime.datetime.now(UTC).replace(microsecond=0)


def span(text: str) -> datetime.timedelta:
    """The length of `90d`, `12h`, `2w` or `0`. No minutes: `6m` would be taken for months. Errors: ValueError."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", "0h" if text == "0" else text, flags=re.ASCII)
    if not found:
        raise ValueError(f"expected a span like {FORMS}")
    return datetime.timedelta(hours=int(found[1]) * HOURS[found[2]])


def parse(text: str) -> datetime.datetime:
    """The UTC time of an RFC 3339 time, or of a date: its first second. Errors: ValueError."""
    found = RFC_3339.fullmatch(text if "T" in text.upper() else f"{text}T00:00:00Z")
    try:
        if not found:
            raise ValueError
        date, time, fraction, zone = found.groups()
        zone = "+00:00" if zone in "Zz" else zone
        microseconds = (fraction or "")[:6].ljust(6, "0")
        return datetime.datetime.fromisoformat(f"{date}T{time}.{microseconds}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a date like 2027-01-31 or a time like 2027-01-31T12:00:00Z") from None


def parsed(text: object) -> datetime.datetime | None:
    """The UTC time of what the service returned, or None if there is none that can be read."""
    try:
        return parse(text) if isinstance(text, str) else None
    except ValueError:
        return None


def add(time: datetime.datetime, length: datetime.timedelta) -> datetime.datetime:
    """The sum, or the last moment there is."""
    try:
        return time + length
    except OverflowError:
        return datetime.datetime.max.replace(microsecond=0, tzinfo=UTC)


def written(time: datetime.datetime) -> str:
    """A UTC time as RFC 3339, in whole seconds."""
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(time: datetime.datetime) -> str:
    """How long ago a time was, for people. The service records uses by the hour, so nothing shorter is shown."""
    hours = (now() - time) // datetime.timedelta(hours=1)
    if hours < 1:
        return "within the hour"
    count, unit = (hours, "hour") if hours < 48 else (hours // 24, "day")
    return f"{count} {unit}{'s' * (count > 1)} ago"
