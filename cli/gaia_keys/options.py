"""What commands have in common: what keys, times and configs look like."""

from __future__ import annotations

import datetime
import functools
import sys
from collections.abc import Callable
from typing import TypeVar

import click

from gaia_keys import lossless, times
from gaia_keys.keys import ID_LENGTH, Config, id_of

R = TypeVar("R")
# The config fields that have an option.
OWN = {"name", "permissions", "routes", "expires_at", "allowed_ips", "usage_plan_key"}


def read_secret() -> str:
    """A key from the first line of standard input; a terminal asks for it and doesn't show it."""
    if sys.stdin.isatty():
        key: str = click.prompt("Key", hide_input=True, err=True)
    else:
        try:
            key = lossless.decoded(sys.stdin.buffer.readline())
        except UnicodeDecodeError:
            raise click.UsageError("standard input is neither UTF-8 nor UTF-16") from None
    if not key.strip():
        raise click.UsageError("expected a key on standard input")
    return key.strip()


def promptable(yes: bool) -> None:
    """Rejects what needs a person's confirmation where nobody can be asked."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("cannot prompt for confirmation (stdin is not a terminal); use --yes")


class Parsed(click.ParamType):
    """What a function makes of a text. Its ValueError says what is wrong."""

    name = "text"

    def __init__(self, parse: Callable[[str], object]) -> None:
        self.parse = parse

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> object:
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def key_or_id(text: str) -> str:
    """What was typed may be a secret, so no error repeats it."""
    found = read_secret() if text == "-" else text
    if not id_of(found):
        raise ValueError("expected a key, or its ID: gaia_ and 26 characters")
    return found


def past(text: str) -> datetime.datetime:
    """A date, a time, or a span before now."""
    try:
        return times.add(times.now(), -times.span(text))
    except ValueError:
        return parse(text, times.FORMS)


def expiry(text: str) -> datetime.datetime | str:
    """A date, a time, or a span from now, none of them in the past; or never."""
    if text == "never":
        return text
    try:
        time = times.add(times.now(), times.span(text))
    except ValueError:
        time = parse(text, f"{times.FORMS} or never")
    if time <= times.now():
        raise ValueError(f"'{text}' is in the past")
    return time


def parse(text: str, others: str) -> datetime.datetime:
    try:
        return times.parse(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {others}") from None


def config(text: str) -> Config:
    """Fields of a config. Those with an option of their own are left to that: two values could differ."""
    try:
        found = lossless.loads(text)
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    if (wrong := lossless.fault(found)) or not isinstance(found, dict):
        raise ValueError(str(wrong or "expected a JSON object"))
    if twice := OWN & set(found):
        raise ValueError(f"{', '.join(sorted(twice))}: use the option for this field")
    return found


KEY_ID = Parsed(lambda text: key_or_id(text)[:ID_LENGTH])
SPAN = Parsed(times.span)
PAST = Parsed(past)
EXPIRY = Parsed(expiry)


def actions(*rows: str) -> str:
    """The end of a help: the IAM actions that a command needs, and what for."""
    return "\n\n\b\nIAM actions:\n  " + "\n  ".join(rows)


def example(*lines: str) -> str:
    """An epilog; `\\b` keeps click from joining its lines."""
    return "\n  ".join(["\b\nExamples:" if len(lines) > 1 else "\b\nExample:", *lines])


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
key_id = click.argument("key_id", metavar="KEY", type=KEY_ID)
show_keys = click.option("--show-keys", is_flag=True, help="Show entire keys, secrets included.")
yes = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")


def config_fields(function: Callable[..., R]) -> Callable[..., R]:
    """Adds the options that set fields of a config. The command gets them as `fields`, with None for one to remove."""

    @click.option("--permissions", type=click.Choice(["read", "write"]), help="write includes read.")
    @click.option(
        "--route",
        metavar="'METHOD /PATH'",
        multiple=True,
        help="Grant only this route, in place of --permissions. * is any text. Can be repeated.",
    )
    @click.option(
        "--expires",
        type=EXPIRY,
        metavar="WHEN",
        help=f"2027-01-31, 2027-01-31T12:00:00Z, a span from now ({times.FORMS}), or never.",
    )
    @click.option(
        "--allowed-ip", metavar="ADDRESS", multiple=True, help="Allow only this address or CIDR range. Can be repeated."
    )
    @click.option(
        "--usage-plan-key",
        metavar="VALUE",
        help="REST APIs meter the key under the API Gateway API key with this value.",
    )
    @click.option(
        "--config",
        type=Parsed(config),
        metavar="JSON",
        default="{}",
        help="Additional config fields, as a JSON object.",
    )
    @functools.wraps(function)
    def command(
        *arguments: object,
        permissions: str | None,
        route: tuple[str, ...],
        expires: datetime.datetime | str | None,
        allowed_ip: tuple[str, ...],
        usage_plan_key: str | None,
        **given: object,
    ) -> R:
        if permissions and route:
            raise click.UsageError("expected either --permissions or --route")
        fields: Config = {}
        if permissions or route:
            fields |= {"permissions": permissions, "routes": list(route) or None}
        if expires:
            fields["expires_at"] = times.written(expires) if isinstance(expires, datetime.datetime) else None
        if allowed_ip:
            fields["allowed_ips"] = list(allowed_ip)
        if usage_plan_key is not None:
            fields["usage_plan_key"] = usage_plan_key or None
        return function(*arguments, fields=fields, **given)

    return command
