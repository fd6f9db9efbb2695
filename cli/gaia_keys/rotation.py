"""New keys for old ones, which expire after a grace period. The service does both in one request."""

import itertools
from collections import Counter

from gaia_keys import times
from gaia_keys.errors import Failed, Gone, NoSuchKey
from gaia_keys.keys import id_of
from gaia_keys.output import each, say


def rotate(api, old, successor, grace, expires):
    """The service's response to a rotation: the same one again if it was carried out within 24 hours.

    For that, the request must be the same again. So it has an expires_at only if the new key gets one, and if there is a
    new key already, it has that key's. `expires` is a time, "never", or None for the old key's lifetime.
    """
    if old.state == "unreadable":
        raise Failed("its stored config is invalid")
    body = {"grace_seconds": int(grace.total_seconds())}
    if successor:
        body |= {name: value for name, value in (successor.config or {}).items() if name == "expires_at"}
    elif expires and expires != "never":
        body["expires_at"] = times.written(expires)
    elif "expires_at" in old.config:
        body["expires_at"] = None if expires else same_lifetime(old)
    header = f"rotate-{body['grace_seconds']}-{body.get('expires_at', 'unset')}"
    for number in itertools.count(1):
        try:
            return api.rotate(old.id, body, f"{header}-{number}")
        except Gone:  # the new key was deleted, and another one is wanted
            pass


def same_lifetime(old):
    """The new key's expires_at if it is to live as long as the old one; None if that never expires."""
    if not old.expires:
        return None
    if old.details["rotated_to"]:
        raise Failed("it expires because it was rotated before: use --expires WHEN, or --expires never")
    return times.written(times.add(times.now(), old.expires - old.created))


def rotate_one(api, key_id, grace, expires):
    """The new key, when the old one expires (or None), and whether that is later than this rotation said.

    A repeated rotation gets the first response again. Somebody may have changed the old key's expiry since.
    """
    old = api.find(key_id)
    new = successor(api, old)
    response = rotate(api, old, new, grace, expires)
    if not new:
        return response["api_key"], response["expires_at"], False
    later = not old.expires or old.expires > times.parse(response["expires_at"])
    return response["api_key"], old.field("expires_at"), later


def successor(api, old):
    """The key that replaces an old one, or None."""
    try:
        return api.find(old.details["rotated_to"]) if old.details["rotated_to"] else None
    except NoSuchKey:
        return None


class Rotation:
    """The keys created before a time that are to be rotated, and why the others aren't, counted.

    The new keys of a rotation that is under way are none of those to be rotated: otherwise a time within it (`0d`) would
    never come to an end.
    """

    def __init__(self, api, older_than, known, pending):
        self.api, self.known, self.pending = api, known, pending
        self.keys = {key.id: key for key in api.keys()}
        created = {id_of(new) for new in known.values()}
        if pending in self.keys:
            created.add(self.keys[pending].details["rotated_to"])
        old = [key for key in self.keys.values() if key.id not in created and key.created and key.created < older_than]
        obstacles = {key.id: self.obstacle(key) for key in old}
        self.due = [key for key in old if not obstacles[key.id]]
        # First, as the line of the next key in the mapping replaces that of this one.
        self.due.sort(key=lambda key: key.id != pending)
        self.obstacles = Counter(filter(None, obstacles.values()))

    def obstacle(self, key):
        """Why a key is not to be rotated, or None."""
        if key.id == self.pending:
            return None
        if key.id in self.known or key.details["rotated_to"] in self.keys:
            return "rotated already"
        return None if key.state == "active" else key.state

    def run(self, mapping, grace, expires):
        """Rotates the keys, oldest first. How many failed."""

        def work(old):
            new = self.keys.get(old.details["rotated_to"])
            mapping.begin(old.id)
            try:
                key = rotate(self.api, old, new, grace, expires)["api_key"]
            except Failed as error:
                key = new and new.api_key  # after 24 hours, or for another caller
                if not key:
                    mapping.drop()
                    raise Failed(lost(new) if new else str(error)) from None
            mapping.add(old.id, key)

        done, failed = each([(old.id, old) for old in self.due], len(self.due), work)
        say(f"{done} rotated, {failed} failed")
        return failed


def lost(new):
    return (
        f"{new.id} was already created to replace this key, but its secret can no longer be retrieved: "
        f"run `gaia-keys delete {new.id}`, then rotate again"
    )
