"""New keys for old ones, which expire after a grace period. The service does both in one request."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import Union

from gaia_keys import times
from gaia_keys.api import Api
from gaia_keys.changes import CHANGES
from gaia_keys.errors import Changed, Failed, Gone
from gaia_keys.filters import Filter
from gaia_keys.keys import Config, Key, id_of
from gaia_keys.mapping import Mapping
from gaia_keys.output import each, say
from gaia_keys.responses import Rotated

# When a new key expires: then, "never", or None for the old key's lifetime.
Expires = Union[datetime.datetime, str, None]

# Rotations within 24 hours whose new keys were deleted since. More are a mistake.
MOST_DELETED = 20


def rotate(
    api: Api, old: Key, new: Key | None, grace: datetime.timedelta, expires: Expires
) -> tuple[Rotated, Key, Key | None]:
    """The service's response to a rotation, the same again if it was carried out within 24 hours; and `old` and `new`.

    `old` is the key as it was read, `new` the key that replaces it already, or None. If somebody changes the key
    meanwhile, what it is by then is rotated.
    """
    for _ in range(CHANGES):
        try:
            return rotate_once(api, old, new, grace, expires), old, new
        except Changed:
            old = api.find(old.id)
            new = successor(api, old)
    raise Changed


def rotate_once(api: Api, old: Key, new: Key | None, grace: datetime.timedelta, expires: Expires) -> Rotated:
    """For the same response again, the request must be the same again.

    So it has an expires_at only if the new key gets one, and if there is a new key already, it has that key's.
    """
    if old.state == "unreadable" or old.config is None:
        raise Failed("its stored config is invalid")
    body: Config = {"grace_seconds": int(grace.total_seconds())}
    if new:
        body |= {name: value for name, value in (new.config or {}).items() if name == "expires_at"}
    elif isinstance(expires, datetime.datetime):
        body["expires_at"] = times.written(expires)
    elif "expires_at" in old.config:
        body["expires_at"] = None if expires else same_lifetime(old)
    header = f"rotate-{body['grace_seconds']}-{body.get('expires_at', 'unset')}"
    for number in range(1, MOST_DELETED + 1):
        try:
            return api.rotate(old, body, f"{header}-{number}")
        except Gone:  # the new key was deleted, and another one is wanted
            pass
    raise Failed(f"the new keys of {MOST_DELETED} rotations were deleted; try again after 24 hours")


def same_lifetime(old: Key) -> str | None:
    """The new key's expires_at if it is to live as long as the old one; None if that never expires."""
    if not old.expires:
        return None
    if old.details["rotated_to"]:
        raise Failed("it expires because it was rotated before: use --expires WHEN, or --expires never")
    if not old.created or old.expires <= old.created:
        raise Failed("it expired before it was created: use --expires WHEN, or --expires never")
    return times.written(times.add(times.now(), old.expires - old.created))


def rotate_one(api: Api, key_id: str, grace: datetime.timedelta, expires: Expires) -> tuple[str, str | None, bool]:
    """The new key, when the old one expires (or None), and whether that is later than this rotation said.

    A repeated rotation gets the first response again. Somebody may have changed the old key's expiry since.
    """
    old = api.find(key_id)
    response, old, new = rotate(api, old, successor(api, old), grace, expires)
    if not new:
        return response.api_key, response.old_expires_at, False
    later = not old.expires or old.expires > times.parse(response.old_expires_at)
    return response.api_key, old.field("expires_at"), later


def successor(api: Api, old: Key) -> Key | None:
    """The key that replaces an old one, or None."""
    key_id = old.details["rotated_to"]
    return api.look_up(key_id) if key_id and id_of(key_id) else None


class Rotation:
    """The keys that match a filter and are to be rotated, and why the others aren't, counted.

    The new keys of a rotation that is under way are none of those to be rotated: otherwise a time within it (`0d`)
    would never come to an end.
    """

    def __init__(self, api: Api, wanted: Filter, known: dict[str, str], pending: str | None) -> None:
        self.api, self.known, self.pending = api, known, pending
        self.keys = {key.id: key for key in api.keys()}  # noqa: SIM118, not a dict's
        created = {id_of(new) for new in known.values()}
        if pending in self.keys:
            created.add(self.keys[pending].details["rotated_to"])
        matching = {key.id for key in wanted.of(self.keys.values())} | {pending}
        old = [key for key in self.keys.values() if key.id in matching and key.id not in created]
        obstacles = {key.id: self.obstacle(key) for key in old}
        self.due = [key for key in old if not obstacles[key.id]]
        # First, as the line of the next key in the mapping replaces that of this one.
        self.due.sort(key=lambda key: key.id != pending)
        self.obstacles = Counter(filter(None, obstacles.values()))

    def obstacle(self, key: Key) -> str | None:
        """Why a key is not to be rotated, or None."""
        if key.id == self.pending:
            return None
        if key.id in self.known or key.details["rotated_to"] in self.keys:
            return "rotated already"
        return None if key.state == "active" else key.state

    def run(self, mapping: Mapping, grace: datetime.timedelta, expires: Expires) -> int:
        """Rotates the keys, oldest first. How many failed."""

        def work(old: Key) -> None:
            new = self.keys.get(old.details["rotated_to"] or "")
            mapping.begin(old.id)
            try:
                mapping.add(old.id, rotate(self.api, old, new, grace, expires)[0].api_key)
            except Failed as error:
                if new and new.api_key:  # after 24 hours, or for another caller
                    return mapping.add(old.id, new.api_key)
                mapping.drop()
                raise Failed(lost(new) if new else str(error)) from None

        if self.pending not in self.keys:
            mapping.drop()
        done, failed = each([(old.id, old) for old in self.due], work)
        say(f"{done} rotated, {failed} failed")
        return failed


def lost(new: Key) -> str:
    return (
        f"{new.id} was already created to replace this key, but its secret can no longer be retrieved: "
        f"run `gaia-keys delete {new.id}`, then rotate again"
    )
