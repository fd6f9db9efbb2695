"""JSON whose numbers keep their digits: a config that is read, changed and written differs in the change alone.

The order of fields stays too. White space doesn't, nor does the spelling of a string (`\\u00fc` for `ü`); the value is the same.
"""

import codecs

import simplejson


def decoded(data):
    """The text of UTF-8 or, with its mark, UTF-16, as spreadsheets and PowerShell write them. Errors: UnicodeDecodeError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data[: len(data) // 2 * 2].decode("utf-16")  # the first line of some may end within its last character
    return data.decode("utf-8-sig")


def unambiguous(pairs):
    fields = dict(pairs)
    # Without the name: in a list of another system's keys, it may be one of them.
    return fields if len(fields) == len(pairs) else ValueError("field named twice")


def loads(text):
    """The value of a JSON text. A ValueError stands in it where it is ambiguous or no JSON, so that the rest can be used.

    Errors: ValueError if the whole can't be read.
    """
    constant = lambda text: ValueError(f"{text} is not valid JSON")
    number = simplejson.RawJSON
    try:
        return simplejson.loads(
            text, object_pairs_hook=unambiguous, parse_float=number, parse_int=number, parse_constant=constant
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def leaves(value):
    """What isn't an object or a list, in order. Without recursion, as a text may be nested deeply."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, (dict, list)):
            left += reversed(list(value.values()) if isinstance(value, dict) else value)
        else:
            yield value


def fault(value):
    """The first ValueError in what was read, or None."""
    return next((leaf for leaf in leaves(value) if isinstance(leaf, ValueError)), None)


def dumps(value):
    """The shortest text, so that a config that fitted still fits."""
    return simplejson.dumps(value, separators=(",", ":"), ensure_ascii=False)


def encoded(value):
    """The shortest text in UTF-8. Errors: ValueError if there is none."""
    try:
        return dumps(value).encode()
    except UnicodeEncodeError:
        raise ValueError("unpaired UTF-16 surrogate") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def shown(value):
    """For people and programs. ASCII: it goes through any terminal and any encoding."""
    return simplejson.dumps(value, indent=2)
