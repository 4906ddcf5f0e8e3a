"""`varsim completion`: print the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_VARSIM_COMPLETE"
"""The environment variable by which the completion script requests words from the program."""


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  eval "$(varsim completion bash)"     in ~/.bashrc
    zsh:   eval "$(varsim completion zsh)"      in ~/.zshrc
    fish:  varsim completion fish | source      in ~/.config/fish/config.fish
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.main import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "varsim", VARIABLE).source())
