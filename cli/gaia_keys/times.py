"""Times and spans, as they are typed, shown and stored in configs."""

import datetime
import re

from dateutil.parser import isoparse

UTC = datetime.timezone.utc
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
FORMS = "90d, 12h, 2w"


def now():
    """In whole seconds, as configs have it."""
    return datetime.datetime.now(UTC).replace(microsecond=0)


def span(text):
    """A timedelta of `90d`, `12h`, `2w` or `0`. Minutes are left out: `6m` would be taken for months. Errors: ValueError."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", "0h" if text == "0" else text, flags=re.ASCII)
    if not found:
        raise ValueError(f"expected a span like {FORMS}")
    return datetime.timedelta(hours=int(found[1]) * HOURS[found[2]])


def parse(text):
    """The UTC datetime of an RFC 3339 time, or of a date: its first second. Errors: ValueError."""
    try:
        time = isoparse(text + "T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text, flags=re.ASCII) else text)
        if time.tzinfo is None:
            raise ValueError
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a date like 2027-01-31 or a time like 2027-01-31T12:00:00Z") from None


def parsed(text):
    """The UTC datetime of a time that the service returned, or None if there is none that can be read."""
    try:
        return parse(text) if isinstance(text, str) else None
    except ValueError:
        return None


def add(time, length):
    """The sum, or the last moment there is."""
    try:
        return time + length
    except OverflowError:
        return datetime.datetime.max.replace(microsecond=0, tzinfo=UTC)


def written(time):
    """A UTC datetime as RFC 3339, in whole seconds."""
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(time):
    """How long ago a time was, for people. The service records uses by the hour, so nothing shorter is shown."""
    hours = (now() - time) // datetime.timedelta(hours=1)
    if hours < 1:
        return "within the hour"
    count, unit = (hours, "hour") if hours < 48 else (hours // 24, "day")
    return f"{count} {unit}{'s' * (count > 1)} ago"
