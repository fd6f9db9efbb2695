"""Where the commands find the service: the options before or after a command that say so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from gaia_keys.api import Api
from gaia_keys.aws import Account, Stack

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
        if not self.stack:
            raise click.UsageError(
                "Missing option '--stack' (or GAIA_KEYS_STACK): the name of the CloudFormation stack."
            )
        return Stack(Account(self.profile, self.region), self.stack)

    def api(self) -> Api:
        """The Api at --url, or at the output ApiUrl of --stack."""
        if not (self.url or self.stack):
            raise click.UsageError("Missing option '--stack' or '--url' (or GAIA_KEYS_STACK or GAIA_KEYS_URL).")
        return Api(self.url or self.deployed().output("ApiUrl"), self.auth, self.profile, self.region)


def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    connection = context.ensure_object(Connection)
    if value is not None and parameter.name:
        setattr(connection, parameter.name, value)


OPTIONS: dict[str, dict[str, Any]] = {
    "--stack": {"metavar": "NAME", "help": "CloudFormation stack of the service.", "envvar": "GAIA_KEYS_STACK"},
    "--url": {
        "metavar": "URL",
        "help": "Management API, in place of the stack's output ApiUrl.",
        "envvar": "GAIA_KEYS_URL",
    },
    "--auth": {
        "type": click.Choice(["sigv4", "bearer", "none"]),
        "help": "sigv4 (default): AWS credentials. bearer: the token in GAIA_KEYS_TOKEN. none: for `cargo local`.",
        "envvar": "GAIA_KEYS_AUTH",
    },
    "--profile": {"metavar": "NAME", "help": "AWS profile. Default: AWS_PROFILE."},
    "--region": {"metavar": "NAME", "help": "AWS Region. Default: from the URL, AWS_REGION, or the profile."},
}


def options(function: F, variables: bool = False) -> F:
    """Adds the global options. Only the group reads variables: they would win over what was typed before a command."""
    for name, settings in reversed(OPTIONS.items()):
        given = settings if variables else {**settings, "envvar": None}
        function = click.option(name, expose_value=False, callback=remember, show_envvar=True, **given)(function)
    return function


def located(function: Callable[..., int]) -> Callable[..., int]:
    """A command that gets the Connection first: it calls AWS, perhaps also the API. Goes below its own options."""
    return options(click.make_pass_decorator(Connection, ensure=True)(function))


def connected(function: Callable[..., int]) -> Callable[..., int]:
    """A command that gets an Api first: it sends requests to the API."""

    @functools.wraps(function)
    def command(connection: Connection, *arguments: object, **given: object) -> int:
        return function(connection.api(), *arguments, **given)

    return located(command)
