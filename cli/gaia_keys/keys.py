"""Keys: their IDs, and what the service says of one."""

from __future__ import annotations

import re

from gaia_keys import times
from gaia_keys.lossless import fault

ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
# The first 31 characters of a key, which are no secret.
ID_LENGTH = 31
DETAILS = (
    *("created_at", "created_by", "updated_at", "updated_by", "last_used_at"),
    *("rotated_from", "rotated_to", "root_key_id"),
)
STATES = ("active", "disabled", "expired", "unreadable")

Config = dict[str, object]


def id_of(text: str) -> str | None:
    """The ID of a key or an ID, or None if it is neither."""
    return text[:ID_LENGTH] if re.fullmatch(f"gaia_{ULID}(_{ULID})?", text) else None


class Key:
    """A key with its details, as the service returns it; responses.py checks their types.

    `config` is None where the table holds an item that the service did not write. `api_key` is None where the
    deployment shows only IDs, or no longer has the key's root key. `etag` stands for what was read: a change sends it
    as If-Match.
    """

    def __init__(self, shown: str, config: object, etag: str, details: dict[str, str | None]) -> None:
        self.api_key = shown if id_of(shown) and len(shown) > ID_LENGTH else None
        self.id = shown[:ID_LENGTH]
        self.config: Config | None = config if isinstance(config, dict) and not fault(config) else None
        self.etag = etag
        self.details = details
        self.created = times.parsed(self.details["created_at"])
        self.last_used = times.parsed(self.details["last_used_at"])
        self.expires = times.parsed(self.field("expires_at"))
        self.state = self.state_of(self.config) if id_of(shown) and self.created else "unreadable"

    def state_of(self, config: Config | None) -> str:
        """One of STATES."""
        if config is None or (self.expires is None) != (config.get("expires_at") is None):
            return "unreadable"
        if config.get("enabled") is False:
            return "disabled"
        return "expired" if self.expires and self.expires <= times.now() else "active"

    def field(self, name: str) -> str | None:
        """A field of the config if it is a string, else None."""
        value = (self.config or {}).get(name)
        return value if isinstance(value, str) else None

    def strings(self, name: str) -> list[str]:
        """A field of the config if it is a list, as strings."""
        value = (self.config or {}).get(name)
        return list(map(str, value)) if isinstance(value, list) else []
