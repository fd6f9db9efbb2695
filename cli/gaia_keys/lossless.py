"""JSON whose numbers keep their digits: a config that is read, changed and written differs in the change alone.

The order of fields stays too. White space doesn't, nor does the spelling of a string (`\\u00fc` for `ü`); the value is the same.
"""

import simplejson


def unambiguous(pairs):
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    return ValueError(f"field named twice: {', '.join(twice)}") if twice else dict(pairs)


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


def fault(value):
    """The first ValueError in what was read, or None."""
    if isinstance(value, ValueError):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next(filter(None, map(fault, inner)), None)


def dumps(value):
    """The shortest text, so that a config that fitted still fits."""
    return simplejson.dumps(value, separators=(",", ":"), ensure_ascii=False)


def shown(value):
    """For people and programs. ASCII: it goes through any terminal and any encoding."""
    return simplejson.dumps(value, indent=2)
