"""New keys for old ones, which expire after a grace period. The service does both in one request."""

from collections import Counter

from gaia_keys import times
from gaia_keys.changes import CHANGES
from gaia_keys.errors import Changed, Failed, Gone, NoSuchKey
from gaia_keys.keys import id_of
from gaia_keys.output import each, say

# Rotations within 24 hours whose new keys were deleted since. More are a mistake.
MOST_DELETED = 20


def rotate(api, old, new, grace, expires):
    """The service's response to a rotation, the same one again if it was carried out within 24 hours; and `old` and `new`.

    `old` is the key as it was read, `new` the key that replaces it already, or None. `expires` is a time, "never", or None
    for the old key's lifetime. If somebody changes the key meanwhile, what it is by then is rotated.
    """
    for _ in range(CHANGES):
        try:
            return rotate_once(api, old, new, grace, expires), old, new
        except Changed as error:
            failure = error
            old = api.find(old.id)
            new = successor(api, old)
    raise failure


def rotate_once(api, old, new, grace, expires):
    """For the same response again, the request must be the same again.

    So it has an expires_at only if the new key gets one, and if there is a new key already, it has that key's.
    """
    if old.state == "unreadable":
        raise Failed("its stored config is invalid")
    body = {"grace_seconds": int(grace.total_seconds())}
    if new:
        body |= {name: value for name, value in (new.config or {}).items() if name == "expires_at"}
    elif expires and expires != "never":
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


def same_lifetime(old):
    """The new key's expires_at if it is to live as long as the old one; None if that never expires."""
    if not old.expires:
        return None
    if old.details["rotated_to"]:
        raise Failed("it expires because it was rotated before: use --expires WHEN, or --expires never")
    if old.expires <= old.created:
        raise Failed("it expired before it was created: use --expires WHEN, or --expires never")
    return times.written(times.add(times.now(), old.expires - old.created))


def rotate_one(api, key_id, grace, expires):
    """The new key, when the old one expires (or None), and whether that is later than this rotation said.

    A repeated rotation gets the first response again. Somebody may have changed the old key's expiry since.
    """
    old = api.find(key_id)
    response, old, new = rotate(api, old, successor(api, old), grace, expires)
    if not new:
        return response.api_key, response.old_expires_at, False
    later = not old.expires or old.expires > times.parse(response.old_expires_at)
    return response.api_key, old.field("expires_at"), later


def successor(api, old):
    """The key that replaces an old one, or None."""
    key_id = old.details["rotated_to"]
    try:
        return api.find(key_id) if key_id and id_of(key_id) else None
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
                key = rotate(self.api, old, new, grace, expires)[0].api_key
            except Failed as error:
                key = new and new.api_key  # after 24 hours, or for another caller
                if not key:
                    mapping.drop()
                    raise Failed(lost(new) if new else str(error)) from None
            mapping.add(old.id, key)

        if self.pending not in self.keys:
            mapping.drop()
        done, failed = each([(old.id, old) for old in self.due], len(self.due), work)
        say(f"{done} rotated, {failed} failed")
        return failed


def lost(new):
    return (
        f"{new.id} was already created to replace this key, but its secret can no longer be retrieved: "
        f"run `gaia-keys delete {new.id}`, then rotate again"
    )
