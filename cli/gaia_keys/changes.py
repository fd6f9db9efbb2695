"""Changes of one key. Each is made to the key as it was read, so that nobody's change is undone by accident."""

from __future__ import annotations

from gaia_keys import times
from gaia_keys.api import Api
from gaia_keys.errors import Changed, Failed
from gaia_keys.keys import Config, Key
from gaia_keys.lossless import dumps

# How often a key is read again because somebody else changed it meanwhile.
CHANGES = 5


def changed(config: Config, fields: Config) -> Config:
    """The config with fields set, and those that are None removed. All others stay, null or not."""
    return {name: value for name, value in (config | fields).items() if value is not None or name not in fields}


def update(api: Api, key_id: str, fields: Config) -> None:
    """Sets and removes fields of a key's config, of what it is by then if somebody else changes it meanwhile.

    A restriction of theirs is never undone: see `restores`.
    """
    failure: Changed | None = None
    before: Config = {}
    for _ in range(CHANGES):
        key = api.find(key_id)
        if key.config is None:
            raise Failed("its stored config is invalid")
        config = changed(key.config, fields)
        if failure and dumps(config) == dumps(key.config):
            return  # the change was made, and its response got lost
        if failure and restores(fields, before, key.config, config, failure.doubtful):
            check = f"check `gaia-keys get {key_id}`, then run the command again"
            raise Failed(f"somebody else changed this key meanwhile: {check}")
        before = key.config
        try:
            return api.update(key, config)
        except Changed as error:
            failure = error
    raise Changed


def restores(fields: Config, before: Config, now: Config, then: Config, doubtful: bool) -> bool:
    """Whether setting fields anew may undo a restriction of the same field, made since `before` was read.

    If an attempt is in doubt, it may have been carried out, and undone by somebody on purpose.
    """
    touched = [name for name in fields if doubtful or before.get(name) != now.get(name)]
    return any(loosens(name, now.get(name), then.get(name)) for name in touched)


def loosens(name: str, now: object, then: object) -> bool:
    """Whether a key may do more, or for longer, if the value `then` of a field replaces `now`. None: no such field."""
    if now == then:
        return False
    if name == "enabled":
        return now is False
    if name == "expires_at":
        end, later = times.parsed(now), times.parsed(then)
        return end is not None and (later is None or later > end)
    if name == "allowed_ips":
        return now is not None
    if name in ("permissions", "routes"):  # one is removed when the other is set
        return then is not None and (now, then) != ("write", "read")
    return False


def delete(api: Api, key: Key) -> None:
    """Deletes a key as it was read, or what it is by then."""
    for _ in range(CHANGES):
        try:
            return api.delete(key)
        except Changed:
            key = api.find(key.id)
    raise Changed
