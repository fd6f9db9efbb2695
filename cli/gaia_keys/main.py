"""The command line: finds the command, and turns each error into a line and an exit status."""

from __future__ import annotations

import functools
import importlib
import io
import os
import sys

import click

from gaia_keys import connection
from gaia_keys.errors import Failed, Stopped, of_aws
from gaia_keys.options import actions, example
from gaia_keys.output import hide, say

# Where each command is, in the order of the help. A module is imported when its command runs, or for the help.
COMMANDS = {
    "list": "keys:list_keys",
    "get": "keys:get",
    "create": "keys:create",
    "update": "keys:update",
    "disable": "keys:disable",
    "enable": "keys:enable",
    "delete": "keys:delete",
    "rotate": "keys:rotate",
    "verify": "keys:verify",
    "import": "keys:import_keys",
    "api": "api:api",
    "log": "log:log",
    "doctor": "doctor:doctor",
    "stack": "stack:stack",
    "root-key": "root_key:root_key",
    "leaked": "leaked:leaked",
    "restore": "restore:restore",
    "completion": "completion:completion",
}
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "GAIA_KEYS_TOKEN")


class Commands(click.Group):
    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        command: click.Command = getattr(importlib.import_module(f"gaia_keys.commands.{module}"), attribute)
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=example("gaia-keys create reports --permissions read --expires 90d", "gaia-keys list --unused-for 90d")
    + actions(
        "execute-api:Invoke             on the management API",
        "cloudformation:DescribeStacks  with --stack",
        "A command that needs others lists its own.",
    ),
)
@click.version_option(package_name="gaia-keys", prog_name="gaia-keys")
@functools.partial(connection.options, variables=True)
def cli() -> None:
    """Manage GAIA API keys.

    Results go to standard output, all else to standard error. KEY is a key, its ID (the first 31 characters), or - to
    read it from standard input. Only the ID is used.

    Exit status: 0 done, 1 failed (no such key, key not valid, some keys failed), 2 usage error or an error that isn't
    specific to one key, 3 keys found (list --exit-code), 130 interrupted.
    """


def status() -> int:
    """Runs the command that was typed; each error becomes a line and an exit status."""
    try:
        hide(*map(os.environ.get, SECRETS))
        code: int | None = cli.main(sys.argv[1:] or ["--help"], prog_name="gaia-keys", standalone_mode=False)
        sys.stdout.flush()
        return code or 0
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        command = context.command_path if context else "gaia-keys"
        say(f"{command}: {' '.join(error.format_message().split())} (try {command} --help)")
        return 2
    except (Failed, Stopped) as error:
        say(f"gaia-keys: {error}")
        return 1 if isinstance(error, Failed) else 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"gaia-keys: {where}{error.strerror or type(error).__name__}")
        return 2
    except (click.Abort, KeyboardInterrupt):
        say("gaia-keys: interrupted. To continue what a command began, run it again.")
        return 130
    except Exception as error:  # noqa: BLE001, the one catch-all
        message = of_aws(error)
        if message is None:  # its text, or the code in a traceback, may hold a key or a credential
            if os.environ.get("GAIA_KEYS_DEBUG") == "1":
                import traceback

                traceback.print_exc()
            debug = "For a traceback, which may show secrets, set GAIA_KEYS_DEBUG=1."
            message = f"unexpected {type(error).__name__}. {debug}"
        say(f"gaia-keys: {message}")
        return 2


def main() -> None:
    # What an encoding lacks is escaped: by then, a change has been made.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = status()
    try:
        sys.stdout.flush()
    except OSError:  # printed as an error already; Python would try it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
