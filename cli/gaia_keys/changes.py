"""Changes of one key. Each is made to the key as it was read, so that nobody's change is undone by accident."""

from gaia_keys.errors import Changed, Failed
from gaia_keys.lossless import dumps

# How often a key is read again because somebody else changed it meanwhile.
CHANGES = 5


def changed(config, fields):
    """The config with fields set, and those that are None removed. All others stay, null or not."""
    return {name: value for name, value in (config | fields).items() if value is not None or name not in fields}


def update(api, key_id, fields):
    """Sets and removes fields of a key's config, of what it is by then if somebody else changes it meanwhile."""
    failure = None
    for _ in range(CHANGES):
        key = api.find(key_id)
        if key.config is None:
            raise Failed("its stored config is invalid")
        config = changed(key.config, fields)
        if failure and dumps(config) == dumps(key.config):
            return  # the change was made, and its response got lost
        try:
            return api.update(key, config)
        except Changed as error:
            failure = error
    raise failure


def delete(api, key):
    """Deletes a key as it was read, or what it is by then."""
    for _ in range(CHANGES):
        try:
            return api.delete(key)
        except Changed as error:
            failure = error
            key = api.find(key.id)
    raise failure
