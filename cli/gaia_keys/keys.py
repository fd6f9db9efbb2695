"""Keys: their ids, and what a list says of one."""

import datetime
import re

from gaia_keys import times
from gaia_keys.lossless import fault

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = f"[0-7][{DIGITS}]{{25}}"
# The first 31 characters of a key, which are no secret.
ID_LENGTH = 31


def id_of(text):
    """The id of a key or an id, or None if it is neither."""
    return text[:ID_LENGTH] if re.fullmatch(f"gaia_{ULID}(_{ULID})?", text) else None


def number(ulid):
    value = 0
    for digit in ulid:
        value = value * 32 + DIGITS.index(digit)
    return value


def before(key_id):
    """The id before this one, so that the list after it begins with this one; None for the first of all."""
    value = number(key_id[5:]) - 1
    return None if value < 0 else "gaia_" + "".join(DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


class Key:
    """What a list says of a key.

    `config` and `created` are None where the table holds an item that the service did not write; `api_key` is None where
    the deployment shows ids only, or the key's root key is in force no more.
    """

    def __init__(self, shown, config):
        self.api_key = shown if id_of(shown) and len(shown) > ID_LENGTH else None
        self.id = shown[:ID_LENGTH]
        self.config = config if isinstance(config, dict) and not fault(config) else None
        self.created = None
        if id_of(self.id):
            epoch = datetime.datetime(1970, 1, 1, tzinfo=times.UTC)
            self.created = times.add(epoch, datetime.timedelta(milliseconds=number(self.id[5:15])))

    @property
    def expires(self):
        """When it ends, or None. Errors: ValueError where that can't be read."""
        text = self.config.get("expires_at")
        return None if text is None else times.parse(text)

    @property
    def state(self):
        """What a check would say of the key itself, or `unreadable`."""
        if self.config is None or self.created is None:
            return "unreadable"
        try:
            expired = self.expires is not None and self.expires <= times.now()
        except (ValueError, TypeError):
            return "unreadable"
        return "disabled" if self.config.get("enabled") is False else "expired" if expired else "active"

    def member(self, name):
        """A member of the config if it is a text, else None."""
        value = (self.config or {}).get(name)
        return value if isinstance(value, str) else None
