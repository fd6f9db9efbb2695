"""Where the commands find the service: the options before or after a command that say so."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Callable

import click


@dataclass
class Connection:
    """What the global options say. Those after the command win over those before it, and these over variables."""

    url: str | None = None
    stack: str | None = None
    auth: str = "sigv4"
    profile: str | None = None
    region: str | None = None

    def deployed(self) -> Any:
        """The Stack."""
        from gaia_keys.aws import Account, Stack

        if not self.stack:
            raise click.UsageError("Missing option '--stack' (or GAIA_KEYS_STACK): the name of the CloudFormation stack.")
        return Stack(Account(self.profile, self.region), self.stack)

    def api(self) -> Any:
        """The Api at --url, or at the output ApiUrl of --stack."""
        from gaia_keys.api import Api

        if not (self.url or self.stack):
            raise click.UsageError("Missing option '--stack' or '--url' (or GAIA_KEYS_STACK or GAIA_KEYS_URL).")
        return Api(self.url or self.deployed().output("ApiUrl"), self.auth, self.profile, self.region)


def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    connection = context.ensure_object(Connection)
    if value is not None and parameter.name:
        setattr(connection, parameter.name, value)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("--stack", {"metavar": "NAME", "help": "CloudFormation stack of the service."}),
    ("--url", {"metavar": "URL", "help": "Management API, in place of the stack's output ApiUrl."}),
    (
        "--auth",
        {
            "type": click.Choice(["sigv4", "bearer", "none"]),
            "help": "sigv4 (default): AWS credentials. bearer: the token in GAIA_KEYS_TOKEN. none: for `cargo local`.",
        },
    ),
    ("--profile", {"metavar": "NAME", "help": "AWS profile. Default: AWS_PROFILE."}),
    ("--region", {"metavar": "NAME", "help": "AWS Region. Default: from the URL, AWS_REGION, or the profile."}),
]
VARIABLES = {"--stack": "GAIA_KEYS_STACK", "--url": "GAIA_KEYS_URL", "--auth": "GAIA_KEYS_AUTH"}


def options(function: Callable[..., Any], variables: bool = False) -> Callable[..., Any]:
    """Adds the global options; only the group reads their variables, or a variable would win over what was typed before."""
    for name, settings in reversed(OPTIONS):
        environment: dict[str, Any] = {"envvar": VARIABLES[name], "show_envvar": True} if variables and name in VARIABLES else {}
        function = click.option(name, expose_value=False, callback=remember, **settings, **environment)(function)
    return function


def connected(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that sends requests to the API: it gets an Api first. Goes below the command's own options."""

    @functools.wraps(function)
    @click.pass_context
    def command(context: click.Context, /, *arguments: Any, **given: Any) -> Any:
        return function(context.ensure_object(Connection).api(), *arguments, **given)

    return options(command)


def located(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that gets the Connection first: it calls AWS, perhaps also the API."""

    @functools.wraps(function)
    @click.pass_context
    def command(context: click.Context, /, *arguments: Any, **given: Any) -> Any:
        return function(context.ensure_object(Connection), *arguments, **given)

    return options(command)
