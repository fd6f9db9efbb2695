"""Completion of commands and options in a shell."""

from __future__ import annotations

import click

from gaia_keys import options
from gaia_keys.errors import Stopped


@click.command(
    epilog=options.example(
        "source <(gaia-keys completion bash)", "gaia-keys completion fish >~/.config/fish/completions/gaia-keys.fish"
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what makes a shell complete commands and options."""
    from click.shell_completion import get_completion_class

    group = context.find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise Stopped(f"click knows no completion for {shell}")
    print(kind(group, {}, "gaia-keys", "_GAIA_KEYS_COMPLETE").source())
    return 0
