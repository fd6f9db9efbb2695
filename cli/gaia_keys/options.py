"""What commands have in common: what keys, times and configs look like."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from typing import ClassVar, TypeVar

import click

from gaia_keys import lossless, times
from gaia_keys.keys import Config, id_of

F = TypeVar("F", bound=Callable[..., object])
Parameter = click.Parameter
Context = click.Context


def read_secret() -> str:
    """A key from standard input; a terminal asks for it and doesn't show it."""
    key: str = click.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else read_line()
    if not key.strip():
        raise click.UsageError("expected a key on standard input")
    return key.strip()


def read_line() -> str:
    """The first line of standard input."""
    try:
        return lossless.decoded(sys.stdin.buffer.readline())
    except UnicodeDecodeError:
        raise click.UsageError("standard input is neither UTF-8 nor UTF-16") from None


def promptable(yes: bool) -> None:
    """Rejects what needs a person's confirmation where nobody can be asked."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("cannot prompt for confirmation (stdin is not a terminal); use --yes")


class KeyId(click.ParamType):
    """An ID, or a key, of which only the ID is used. What was typed may be a secret, so no error repeats it."""

    name = "key"

    def convert(self, value: str, param: Parameter | None, ctx: Context | None) -> str:
        text = read_secret() if value == "-" else value
        return id_of(text) or self.fail("expected a key, or its ID: gaia_ and 26 characters", param, ctx)


class Name(click.ParamType):
    name = "name"

    def convert(self, value: str, param: Parameter | None, ctx: Context | None) -> str:
        return value if value.strip() else self.fail("expected a name that isn't empty", param, ctx)


class Span(click.ParamType):
    name = "span"

    def __init__(self, most: str | None = None) -> None:
        self.most = most

    def convert(
        self, value: str | datetime.timedelta, param: Parameter | None, ctx: Context | None
    ) -> datetime.timedelta:
        try:
            span = times.span(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self.most and span > times.span(self.most):
            self.fail(f"expected {self.most} at most", param, ctx)
        return span


class When(click.ParamType):
    """A date, a time, or a span: before now (`sign` -1), or from now (1), where the past is an error.

    With `never`, that word too.
    """

    name = "when"

    def __init__(self, sign: int, never: bool = False) -> None:
        self.sign, self.never = sign, never

    def convert(
        self, value: str | datetime.datetime, param: Parameter | None, ctx: Context | None
    ) -> str | datetime.datetime:
        if not isinstance(value, str) or (self.never and value == "never"):
            return value
        now = times.now()
        try:
            time = times.add(now, self.sign * times.span(value))
        except ValueError:
            time = self.parse(value, param, ctx)
        if self.sign == 1 and time <= now:
            self.fail(f"'{value}' is in the past", param, ctx)
        return time

    def parse(self, value: str, param: Parameter | None, ctx: Context | None) -> datetime.datetime:
        try:
            return times.parse(value)
        except ValueError as error:
            words = f"{times.FORMS} or never" if self.never else times.FORMS
            self.fail(f"{error}, or {words}", param, ctx)


class Fields(click.ParamType):
    """Fields of a config. Those with an option of their own are left to that: two values could differ."""

    name = "json"
    own: ClassVar = {"name", "permissions", "routes", "expires_at", "allowed_ips", "usage_plan_key"}

    def convert(self, value: str | Config, param: Parameter | None, ctx: Context | None) -> Config:
        try:
            fields = lossless.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"not valid JSON: {error}", param, ctx)
        if (wrong := lossless.fault(fields)) or not isinstance(fields, dict):
            self.fail(str(wrong or "expected a JSON object"), param, ctx)
        if self.own & set(fields):
            self.fail(f"{', '.join(sorted(self.own & set(fields)))}: use the option for this field", param, ctx)
        return fields


def actions(*rows: str) -> str:
    """The end of a help: the IAM actions that a command needs, and what for."""
    return "\n\n\b\nIAM actions:\n  " + "\n  ".join(rows)


def example(*lines: str) -> str:
    """An epilog; `\\b` keeps click from joining its lines."""
    return "\n  ".join(["\b\nExamples:" if len(lines) > 1 else "\b\nExample:", *lines])


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
key_id = click.argument("key_id", metavar="KEY", type=KeyId())
show_keys = click.option("--show-keys", is_flag=True, help="Show entire keys, secrets included.")
yes = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")

CONFIG_FIELDS = (
    click.option("--permissions", type=click.Choice(["read", "write"]), help="write includes read."),
    click.option(
        "--route",
        metavar="'METHOD /PATH'",
        multiple=True,
        help="Grant only this route, in place of --permissions. * is any text. Can be repeated.",
    ),
    click.option(
        "--expires",
        type=When(1, never=True),
        metavar="WHEN",
        help=f"2027-01-31, 2027-01-31T12:00:00Z, a span from now ({times.FORMS}), or never.",
    ),
    click.option(
        "--allowed-ip", metavar="ADDRESS", multiple=True, help="Allow only this address or CIDR range. Can be repeated."
    ),
    click.option(
        "--usage-plan-key",
        metavar="VALUE",
        help="REST APIs meter the key under the API Gateway API key with this value.",
    ),
    click.option(
        "--config", type=Fields(), metavar="JSON", default="{}", help="Additional config fields, as a JSON object."
    ),
)


def config_fields(function: F) -> F:
    """The options that set fields of a config, for a new key or an existing one."""
    for option in reversed(CONFIG_FIELDS):
        function = option(function)
    return function


def changes(
    name: str | None,
    permissions: str | None,
    route: tuple[str, ...],
    expires: datetime.datetime | str | None,
    allowed_ip: tuple[str, ...],
    usage_plan_key: str | None,
) -> Config:
    """Fields by name, as a config has them; None for one to remove."""
    if permissions and route:
        raise click.UsageError("expected either --permissions or --route")
    given: Config = {} if name is None else {"name": name or None}
    if permissions or route:
        given |= {"permissions": permissions, "routes": list(route) or None}
    if expires:
        given["expires_at"] = times.written(expires) if isinstance(expires, datetime.datetime) else None
    if allowed_ip:
        given["allowed_ips"] = list(allowed_ip)
    if usage_plan_key is not None:
        given["usage_plan_key"] = usage_plan_key or None
    return given
