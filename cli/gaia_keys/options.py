"""What commands have in common: how the API is reached, how results are printed, what ids and times look like."""

import functools

import click

from gaia_keys import lossless, times
from gaia_keys.api import Api
from gaia_keys.keys import id_of


class KeyId(click.ParamType):
    """An id, or a key, of which no more than the id is used. What was typed may be a secret, so no error repeats it."""

    name = "id"

    def convert(self, value, param, ctx):
        return id_of(value) or self.fail("expected a key's id: gaia_ and 26 characters", param, ctx)


class Span(click.ParamType):
    name = "span"

    def convert(self, value, param, ctx):
        try:
            return value if not isinstance(value, str) else times.span(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class When(click.ParamType):
    """A date, a time, or a span: before now (`sign` -1), or from now (1), where no time that is over will do.

    With `never`, that word too.
    """

    name = "when"

    def __init__(self, sign, never=False):
        self.sign, self.never = sign, never

    def convert(self, value, param, ctx):
        if not isinstance(value, str) or (self.never and value == "never"):
            return value
        now = times.now()
        try:
            time = times.add(now, self.sign * times.span(value))
        except ValueError:
            time = self.parse(value, param, ctx)
        if self.sign == 1 and time <= now:
            self.fail("that is over", param, ctx)
        return time

    def parse(self, value, param, ctx):
        try:
            return times.parse(value)
        except ValueError as error:
            words = f"{times.FORMS} or never" if self.never else times.FORMS
            self.fail(f"{error}, or {words}", param, ctx)


class Members(click.ParamType):
    name = "json"

    def convert(self, value, param, ctx):
        try:
            members = value if isinstance(value, dict) else lossless.loads(value)
        except ValueError as error:
            self.fail(f"no JSON: {error}", param, ctx)
        if lossless.fault(members) or not isinstance(members, dict):
            self.fail(str(lossless.fault(members) or "expected an object of JSON"), param, ctx)
        return members


CONNECTION = [
    click.option("--url", envvar="GAIA_KEYS_URL", show_envvar=True, required=True, help="The stack's output ApiUrl."),
    click.option(
        "--auth",
        envvar="GAIA_KEYS_AUTH",
        show_envvar=True,
        type=click.Choice(["sigv4", "bearer", "none"]),
        default="sigv4",
        show_default=True,
        help="sigv4: AWS credentials. bearer: the token in GAIA_KEYS_TOKEN. none: for `cargo local`.",
    ),
    click.option("--profile", metavar="NAME", help="Of the AWS credentials; else AWS_PROFILE."),
    click.option("--region", metavar="NAME", help="Of the signature; else the URL's, AWS_REGION, the profile's."),
]


def connected(function):
    """A command that asks the API: it gets an Api first. Stands below the command's own options."""

    @functools.wraps(function)
    def command(url, auth, profile, region, **options):
        return function(Api(url, auth, profile, region), **options)

    for option in reversed(CONNECTION):
        command = option(command)
    return command


output = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
key_id = click.argument("key_id", metavar="ID", type=KeyId())
show_keys = click.option("--show-keys", is_flag=True, help="Show whole keys, secrets included.")


def config_members(required):
    """The options that set members of a config, for a new key (`required`) or one that is there."""
    options = [
        click.option("--permissions", type=click.Choice(["read", "write"]), required=required, help="write includes read."),
        click.option(
            "--expires",
            type=When(1, never=not required),
            metavar="WHEN",
            help=f"2027-01-31, 2027-01-31T12:00:00Z, or from now: {times.FORMS}" + ("." if required else "; or never."),
        ),
        click.option("--allowed-ip", metavar="ADDRESS", multiple=True, help="Or a CIDR range; may be repeated."),
        click.option("--config", type=Members(), metavar="JSON", default="{}", help="An object of further members."),
    ]

    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def changes(name, permissions, expires, allowed_ip, config):
    """Members by name, as a config has them; None for one that is to go."""
    expires_at = None if expires == "never" else expires and times.written(expires)
    given = {
        "name": (name, name),
        "permissions": (permissions, permissions),
        "expires_at": (expires, expires_at),
        "allowed_ips": (allowed_ip, list(allowed_ip)),
    }
    return {member: value for member, (option, value) in given.items() if option} | config


def changed(config, members):
    """The config with members set, and those that are None taken out."""
    return {name: value for name, value in (config | members).items() if value is not None}
