"""Define the program `varsim`: a group with a command for each file in commands/."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import click

from varsim import __version__
from varsim.cli import ctrl_c
from varsim.cli.exit_codes import DONE, INTERRUPTED, NOT_WRITTEN, WRONG_USE, WrongUse, exit_codes
from varsim.nearest import did_you_mean
from varsim.report.terminal import width_of

_COMMANDS: Final = "varsim.cli.commands"
_FOLDER: Final = str(Path(__file__).parent / "commands")


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules([_FOLDER])))


class Commands(click.Group):
    """The commands. Each is a file in commands/, which is imported when the command is used."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Return a context whose help text fits the width of the terminal."""
        extra.setdefault("terminal_width", width_of(sys.stdout) - 1)
        return super().make_context(info_name, args, parent, **extra)

    def main(self, args: Sequence[str] | None = None, *others: Any, **more: Any) -> Any:
        """Parse and run `args`; by default the arguments of this process."""
        if args is None:
            ctrl_c.begin()  # needed if the process did not begin with `varsim.cli.entry`
        return super().main(args, *others, **more)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        """Return the names of the commands, in alphabetical order."""
        return [*_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command with this name; None if there is no such command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        members = vars(importlib.import_module(f"{_COMMANDS}.{cmd_name}")).values()
        (command,) = (one for one in members if _is_command(one, cmd_name))
        assert isinstance(command, click.Command)
        if command.epilog is None:
            command.epilog = exit_codes(DONE, WRONG_USE, NOT_WRITTEN, INTERRUPTED)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name. An error contains the nearest name.

        Raises:
            UsageError: There is no such command.
        """
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{did_you_mean(args[0], names)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it with 130."""
        try:
            return super().invoke(ctx)
        except AttributeError as error:
            from varsim.errors import MissingDtype

            if not isinstance(error, MissingDtype):
                raise
            raise WrongUse(str(error)) from None
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


def _is_command(member: object, name: str) -> bool:
    return isinstance(member, click.Command) and member.name == name


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=exit_codes(),
)
@click.version_option(__version__, prog_name="varsim", message="%(prog)s %(version)s")
def main() -> None:
    """Run distributed variables on real processes; show each replica's values, and the costs.

    Start with `varsim run --workers 4 --mode on_read`.
    """
