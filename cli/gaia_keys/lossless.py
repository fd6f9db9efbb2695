"""JSON whose numbers keep their digits: a config that is read, changed and written differs in the change alone.

The order of fields stays too. White space doesn't, nor does the spelling of a string (`\\u00fc` for `ü`).
A JSON value is a dict, a list, a string, a bool, None, or a number as `simplejson.RawJSON`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import simplejson


def decoded(data: bytes) -> str:
    """The text of UTF-8 or, with its mark, UTF-16, as spreadsheets write them. Errors: UnicodeDecodeError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data[: len(data) // 2 * 2].decode("utf-16")  # the first line of some may end within its last character
    return data.decode("utf-8-sig")


def unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object] | ValueError:
    fields = dict(pairs)
    # Without the name: in a list of another system's keys, it may be one of them.
    return fields if len(fields) == len(pairs) else ValueError("field named twice")


def no_json(text: str) -> ValueError:
    return ValueError(f"{text} is not valid JSON")


def loads(text: str) -> object:
    """The value of a JSON text. A ValueError stands in it where it is ambiguous or no JSON: the rest can be used.

    Errors: ValueError if the whole can't be read.
    """
    raw = simplejson.RawJSON
    try:
        value: object = simplejson.loads(
            text, object_pairs_hook=unambiguous, parse_float=raw, parse_int=raw, parse_constant=no_json
        )
        return value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def leaves(value: object) -> Iterator[object]:
    """What isn't an object or a list, in order. Without recursion, as a text may be nested deeply."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, (dict, list)):
            left += reversed(list(value.values()) if isinstance(value, dict) else value)
        else:
            yield value


def fault(value: object) -> ValueError | None:
    """The first ValueError in what was read, or None."""
    return next((leaf for leaf in leaves(value) if isinstance(leaf, ValueError)), None)


def dumps(value: object) -> str:
    """The shortest text, so that a config that fitted still fits."""
    text: str = simplejson.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text


def encoded(value: object) -> bytes:
    """The shortest text in UTF-8. Errors: ValueError if there is none."""
    try:
        return dumps(value).encode()
    except UnicodeEncodeError:
        raise ValueError("unpaired UTF-16 surrogate") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def shown(value: object) -> str:
    """For people and programs. ASCII: it goes through any terminal and any encoding."""
    text: str = simplejson.dumps(value, indent=2)
    return text


def number(text: str) -> Decimal | str:
    """A number to compare: the text itself if its exponent is too large."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def equal(one: object, other: object) -> bool:
    """Whether two JSON values are the same: the order of fields and the spelling of numbers don't count."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, simplejson.RawJSON) and isinstance(other, simplejson.RawJSON):
        return number(one.encoded_json) == number(other.encoded_json)
    return one == other
