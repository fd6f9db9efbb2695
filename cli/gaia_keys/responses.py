"""The one place that turns the API's responses into values. Each function raises Unexpected for any other shape.

No error repeats what a response holds, which may be a secret.
"""

import re
from typing import NamedTuple

from gaia_keys import times
from gaia_keys.errors import Unexpected
from gaia_keys.keys import DETAILS, ID_LENGTH, Key, id_of
from gaia_keys.lossless import fault

# An entity tag that can be sent back as If-Match.
ETAG = '"[!#-~]+"'


class Rotated(NamedTuple):
    api_key: str
    old_expires_at: str


class Verdict(NamedTuple):
    """`key_id` if the key is valid, else `reason`. `response` is the whole response."""

    key_id: str
    reason: str
    response: dict


def fields(content):
    if not isinstance(content, dict):
        raise Unexpected("the response is not an object")
    return content


def text(content, name, pattern="(?s:.*)"):
    value = fields(content).get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Unexpected(f"the response's '{name}' is missing or not what it should be")
    return value


def result(content, word, key_id=None):
    """The API key or ID of a response whose `result` is this word, and which is about this key if one is given."""
    text(content, "result", word)
    key = text(content, "api_key")
    if not id_of(key) or key_id not in (None, id_of(key)):
        raise Unexpected("the response's 'api_key' is not the key that was asked for")
    return key


def new_key(content, word):
    """A key, secret included."""
    key = result(content, word)
    if len(key) == ID_LENGTH:
        raise Unexpected("the response's 'api_key' is no whole key")
    return key


def rotated(content, key_id):
    text(content, "rotated_from", key_id)
    expires_at = text(content, "rotated_from_expires_at")
    if not times.parsed(expires_at):
        raise Unexpected("the response's 'rotated_from_expires_at' is no time")
    return Rotated(new_key(content, "rotated"), expires_at)


def verdict(content, key):
    """What the service says of a key, or of what was taken for one."""
    valid = fields(content).get("valid")
    if fault(content) or not isinstance(valid, bool):
        raise Unexpected("the response says neither valid nor not valid")
    if not valid:
        return Verdict(None, text(content, "reason", "[a-z_]+"), content)
    if text(content, "key_id") != id_of(key):
        raise Unexpected("the response's 'key_id' is not the key that was asked for")
    fields(content.get("config"))
    return Verdict(content["key_id"], None, content)


def details(content):
    """A key with its details. An item that the service did not write may have any text in place of an ID."""
    named = {name: None if fields(content).get(name) is None else text(content, name) for name in DETAILS}
    if "config" not in content:
        raise Unexpected("the response's 'config' is missing")
    return Key(text(content, "api_key"), content["config"], text(content, "etag", ETAG), named)


def one(content, key_id):
    """A certain key with its details."""
    key = details(content)
    if key.id != key_id:
        raise Unexpected("the response's 'api_key' is not the key that was asked for")
    return key


def page(content):
    """A list of keys with their details."""
    if not isinstance(content, list):
        raise Unexpected("the response is not a list of keys")
    return list(map(details, content))


def reason(content):
    """What an error says, without the values."""
    detail = isinstance(content, dict) and content.get("detail", content.get("message"))
    entries = detail if isinstance(detail, list) else [{"loc": [], "msg": detail}]
    said = [place_and_message(entry) for entry in entries]
    return "; ".join(filter(None, said)) or "the response has no reason"


def place_and_message(entry):
    """`config.allowed_ips.0: message`, of one fault that a 422 names; nothing if it has another shape."""
    if not isinstance(entry, dict) or not isinstance(entry.get("msg"), str) or not isinstance(entry.get("loc"), list):
        return None
    # A position in a list is a number, so its text.
    place = ".".join(str(getattr(step, "encoded_json", step)) for step in entry["loc"][1:])
    return ": ".join(filter(None, (place, entry["msg"])))
