"""Where the commands find the service: the options before or after a command that say so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, TypeVar

import click

if TYPE_CHECKING:
    from gaia_keys.api import Api
    from gaia_keys.aws import Stack

# The exit status of a command; None is 0.
Command = Callable[..., Optional[int]]
F = TypeVar("F", bound=Callable[..., object])


@dataclass
class Connection:
    """What the global options say. Those after the command win over those before it, and these over variables."""

    url: str | None = None
    stack: str | None = None
    auth: str = "sigv4"
    profile: str | None = None
    region: str | None = None

    def deployed(self) -> Stack:
        from gaia_keys.aws import Account, Stack

        if not self.stack:
            raise click.UsageError(
                "Missing option '--stack' (or GAIA_KEYS_STACK): the name of the CloudFormation stack."
            )
        return Stack(Account(self.profile, self.region), self.stack)

    def api(self) -> Api:
        """The Api at --url, or at the output ApiUrl of --stack."""
        from gaia_keys.api import Api

        if not (self.url or self.stack):
            raise click.UsageError("Missing option '--stack' or '--url' (or GAIA_KEYS_STACK or GAIA_KEYS_URL).")
        return Api(self.url or self.deployed().output("ApiUrl"), self.auth, self.profile, self.region)


def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    connection = context.ensure_object(Connection)
    if value is not None and parameter.name:
        setattr(connection, parameter.name, value)


AUTH = click.Choice(["sigv4", "bearer", "none"])
# Name, metavar, type, help, and the variable that has its value in place of it.
OPTIONS: tuple[tuple[str, str | None, click.ParamType | None, str, str | None], ...] = (
    ("--stack", "NAME", None, "CloudFormation stack of the service.", "GAIA_KEYS_STACK"),
    ("--url", "URL", None, "Management API, in place of the stack's output ApiUrl.", "GAIA_KEYS_URL"),
    (
        *("--auth", None, AUTH),
        "sigv4 (default): AWS credentials. bearer: the token in GAIA_KEYS_TOKEN. none: for `cargo local`.",
        "GAIA_KEYS_AUTH",
    ),
    ("--profile", "NAME", None, "AWS profile. Default: AWS_PROFILE.", None),
    ("--region", "NAME", None, "AWS Region. Default: from the URL, AWS_REGION, or the profile.", None),
)


def options(function: F, variables: bool = False) -> F:
    """Adds the global options. Only the group reads variables: they would win over what was typed before a command."""
    for name, metavar, kind, text, variable in reversed(OPTIONS):
        envvar = variable if variables else None
        function = click.option(
            name,
            metavar=metavar,
            type=kind,
            help=text,
            envvar=envvar,
            show_envvar=True,
            expose_value=False,
            callback=remember,
        )(function)
    return function


def connected(function: Command) -> Command:
    """A command that sends requests to the API: it gets an Api first. Goes below the command's own options."""

    @functools.wraps(function)
    @click.pass_context
    def command(context: click.Context, /, *arguments: object, **given: object) -> int | None:
        return function(context.ensure_object(Connection).api(), *arguments, **given)

    return options(command)


def located(function: Command) -> Command:
    """A command that gets the Connection first: it calls AWS, perhaps also the API."""

    @functools.wraps(function)
    @click.pass_context
    def command(context: click.Context, /, *arguments: object, **given: object) -> int | None:
        return function(context.ensure_object(Connection), *arguments, **given)

    return options(command)
