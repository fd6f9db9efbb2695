"""Completion of commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from gaia_keys import options

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(
    epilog=options.example(
        "source <(gaia-keys completion bash)", "gaia-keys completion fish >~/.config/fish/completions/gaia-keys.fish"
    )
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands and options."""
    group = context.find_root().command
    print(SHELLS[shell](group, {}, "gaia-keys", "_GAIA_KEYS_COMPLETE").source())
    return 0
