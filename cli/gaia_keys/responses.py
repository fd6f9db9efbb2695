"""The one place that turns the API's responses into values. Each function raises Unexpected for any other shape.

No error repeats what a response holds, which may be a secret.
"""

from __future__ import annotations

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

    key_id: str | None
    reason: str | None
    response: dict[str, object]


def fields(content: object) -> dict[str, object]:
    if not isinstance(content, dict):
        raise Unexpected("the response is not an object")
    return content


def text(content: object, name: str, pattern: str = "(?s:.*)") -> str:
    value = fields(content).get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Unexpected(f"the response's '{name}' is missing or not what it should be")
    return value


def result(content: object, word: str, key_id: str | None = None) -> str:
    """The API key or ID of a response whose `result` is this word, and which is about this key if one is given."""
    text(content, "result", word)
    key = text(content, "api_key")
    if not id_of(key) or key_id not in (None, id_of(key)):
        raise Unexpected("the response's 'api_key' is not the key that was asked for")
    return key


def new_key(content: object, word: str) -> str:
    """A key, secret included."""
    key = result(content, word)
    if len(key) == ID_LENGTH:
        raise Unexpected("the response's 'api_key' is no whole key")
    return key


def rotated(content: object, key_id: str) -> Rotated:
    text(content, "rotated_from", key_id)
    expires_at = text(content, "rotated_from_expires_at")
    if not times.parsed(expires_at):
        raise Unexpected("the response's 'rotated_from_expires_at' is no time")
    return Rotated(new_key(content, "rotated"), expires_at)


def verdict(content: object, key: str) -> Verdict:
    """What the service says of a key, or of what was taken for one."""
    response = fields(content)
    if fault(response) or not isinstance(response.get("valid"), bool):
        raise Unexpected("the response says neither valid nor not valid")
    if not response["valid"]:
        return Verdict(None, text(content, "reason", "[a-z_]+"), response)
    key_id = text(content, "key_id")
    if key_id != id_of(key):
        raise Unexpected("the response's 'key_id' is not the key that was asked for")
    fields(response.get("config"))
    return Verdict(key_id, None, response)


def details(content: object) -> Key:
    """A key with its details. An item that the service did not write may have any text in place of an ID."""
    shown = fields(content)
    named = {name: None if shown.get(name) is None else text(content, name) for name in DETAILS}
    if "config" not in shown:
        raise Unexpected("the response's 'config' is missing")
    return Key(text(content, "api_key"), shown["config"], text(content, "etag", ETAG), named)


def one(content: object, key_id: str) -> Key:
    key = details(content)
    if key.id != key_id:
        raise Unexpected("the response's 'api_key' is not the key that was asked for")
    return key


def page(content: object) -> list[Key]:
    if not isinstance(content, list):
        raise Unexpected("the response is not a list of keys")
    return list(map(details, content))


def following(link: str) -> str:
    """The query of the page that a Link header says is next, or "". No other address is ever called."""
    if not re.search('rel="?next', link):
        return ""
    found = re.match(r"\s*<\?([A-Za-z0-9_=&%.-]+)>", link)
    if not found:
        raise Unexpected("the list has a page at another address")
    return found[1]


def reason(content: object) -> str:
    """What an error says, without the values."""
    detail = content.get("detail", content.get("message")) if isinstance(content, dict) else None
    if isinstance(detail, str):
        # API Gateway's 403 goes on with the request as it would have to be signed, session token included.
        detail = [{"loc": [], "msg": detail.partition("\n")[0]}]
    said = map(place_and_message, detail if isinstance(detail, list) else [])
    return "; ".join(filter(None, said)) or "the response has no reason"


def place_and_message(entry: object) -> str | None:
    """`config.allowed_ips.0: message`, of one fault that a 422 names; nothing if it has another shape."""
    if not isinstance(entry, dict):
        return None
    message, place = entry.get("msg"), entry.get("loc")
    if not isinstance(message, str) or not isinstance(place, list):
        return None
    # A position in a list is a number, so its text.
    steps = ".".join(str(getattr(step, "encoded_json", step)) for step in place[1:])
    return f"{steps}: {message}" if steps else message
