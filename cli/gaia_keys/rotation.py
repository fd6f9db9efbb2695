"""New keys for old ones, which end after a grace period.

Two members of configs say how far a rotation has come, so that a later run, by whoever, goes on where one was interrupted:
the new key's `rotated_from` names the old one from the start, the old key's `rotated_to` the new one when all is done.
An Idempotency-Key makes the create itself safe to repeat.
"""

import bisect
import hashlib
import itertools
import uuid
from collections import Counter

from gaia_keys import times
from gaia_keys.errors import Gone, Refused
from gaia_keys.keys import before, id_of
from gaia_keys.lossless import dumps
from gaia_keys.output import each, say

# Keys that are read at once before they are rotated: they take about a second, and the stack admits one list a second.
PAGE = 10
ROTATED = "rotated already"


class Rotation:
    """`keys` is the list from the first old key on; `grace` a timedelta; `expires` the end of new keys, or None: see renewed."""

    def __init__(self, api, keys, grace, expires):
        self.api, self.keys, self.grace, self.expires, self.now = api, keys, grace, expires, times.now()
        self.ids = {key.id for key in keys}
        self.successors = {key.member("rotated_from"): key for key in keys}

    def obstacle(self, key):
        """Why a key is not to be rotated: ROTATED, or a state that is not active; else None."""
        if key.member("rotated_to"):
            return ROTATED
        return None if key.state == "active" else key.state

    def due(self, older_than, known):
        """Which keys made before a time are to be rotated, and why the others aren't, counted.

        `known` leads from old ids to new keys. The new keys of a rotation that is going on are none of those to be rotated:
        otherwise a time within it (`0d`) would never come to an end.
        """
        made = {id_of(new) for new in known.values()}
        made |= {new.id for old in self.keys if (new := self.successors.get(old.id)) and old.member("rotated_to") != new.id}
        old = [key for key in self.keys if key.id not in made and (key.created is None or key.created < older_than)]
        obstacles = Counter(map(self.obstacle, old))
        del obstacles[None]
        return [key for key in old if not self.obstacle(key)], obstacles

    def renewed(self, old):
        """The new key's config: the old one's; where that ends, the new one lives as long from now, unless told otherwise."""
        config = {name: value for name, value in old.config.items() if name != "rotated_to"}
        expires = self.expires
        if expires is None and old.expires is not None:
            expires = times.add(self.now, old.expires - old.created)
        if expires is not None:
            config["expires_at"] = times.written(expires)
        return config | {"rotated_from": old.id}

    def limited(self, old, new_id):
        """The old key's config from now on. It ends after the grace period, or when it would have ended anyway."""
        if not self.grace:
            return old.config | {"enabled": False, "rotated_to": new_id}
        end = times.add(self.now, self.grace)
        sooner = {} if old.expires is not None and old.expires <= end else {"expires_at": times.written(end)}
        return old.config | sooner | {"rotated_to": new_id}

    def make(self, old):
        """The new key: the one that an interrupted run made, if there is one."""
        made = self.successors.get(old.id)
        if made and made.state != "active":
            raise Refused(f"{made.id} was made for it, and is {made.state}: delete that one, and rotate again")
        if made and made.api_key:
            return made.api_key
        # What an interrupted run sent, to the letter: the same request is answered with the same key.
        config = made.config if made else self.renewed(old)
        header = "rotate-" + hashlib.sha256(f"{old.id} {dumps(config)}".encode()).hexdigest()
        try:
            key = self.api.create(config, header)
        except Gone:  # it was deleted, and another one is wanted
            key = self.api.create(config, f"{header}-{uuid.uuid4()}")
        if made and made.id != id_of(key):
            self.api.delete(id_of(key))
            raise Refused(f"{made.id} was made for it, and can't be told again: delete that one, and rotate again")
        return key

    def rotate(self, old, known, tell):
        """Makes the new key, unless it is `known`; tells it, and then limits the old one. The config that this one has now."""
        self.api.check(self.limited(old, old.id))  # before anything is made; both ids have one length
        key = known if known and id_of(known) in self.ids else self.make(old)
        tell(key)
        limited = self.limited(old, id_of(key))
        try:
            self.api.update(old.id, limited)
        except Refused as error:
            raise Refused(f"{error}; {id_of(key)} was made all the same") from None
        return limited


def read_again(api, keys):
    """The keys as they are now, a page at a time: what was changed since the list was read is not to be undone."""
    ids = [key.id for key in keys]
    while ids:
        page = list(itertools.islice(api.keys(before(ids[0]), PAGE), PAGE))
        yield from (key for key in page if key.id in ids[:PAGE])
        del ids[: bisect.bisect_right(ids, page[-1].id) if page else None]


def rotate_all(rotation, keys, mapping):
    """Rotates keys, oldest first; how many were refused."""

    def work(old):
        known = mapping.known.get(old.id)
        if rotation.obstacle(old):
            raise Refused(f"is {rotation.obstacle(old)} by now")
        rotation.rotate(old, known, lambda new: new == known or mapping.add(old.id, new))

    now = read_again(rotation.api, keys)
    done, refused = each(((old.id, old) for old in now), len(keys), work)
    say(f"{done} rotated, {refused} refused")
    return refused
