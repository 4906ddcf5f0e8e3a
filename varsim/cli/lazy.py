"""A group of commands that are imported when they are used, with varsim's exit codes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import IO, Any, Final, TextIO, cast

import click

from varsim.cli import entry
from varsim.experiments.nearest import did_you_mean
from varsim.report.terminal import width_of

_WIDEST_HELP: Final = 100

DONE: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
INVALID: Final = 3
UNKNOWN: Final = 4
FOUND: Final = 5
INTERRUPTED: Final = entry.INTERRUPTED

_CODES: Final = {
    DONE: "done",
    FAILED: "the run failed",
    WRONG_USE: "wrong use, or a wrong experiment",
    INVALID: "varsim broke a promise (INVALID)",
    UNKNOWN: "it is not known whether it did (UNKNOWN)",
    FOUND: "--fail-on found something",
    INTERRUPTED: "interrupted",
}


def exit_codes(*codes: int) -> str:
    """What the exit codes of a command mean; without any, those of all commands."""
    said = (f"{code} {what}" for code, what in _CODES.items() if not codes or code in codes)
    return f"Exit codes: {'; '.join(said)}."


EXIT_CODES: Final = exit_codes(DONE, FAILED, WRONG_USE, INTERRUPTED)
"""The exit codes of a command that runs something and judges nothing."""


class WrongUse(click.ClickException):
    """The user asked for something impossible; the text says what is possible."""

    exit_code = WRONG_USE

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints it, by default to stderr."""
        from varsim.cli.output import complain

        complain("Error", self.message, cast("TextIO | None", file))


class Failed(WrongUse):
    """What the user asked for could not be done; the text says why."""

    exit_code = FAILED


class LazyGroup(click.Group):
    """Knows where its commands are, and imports those that are needed."""

    def __init__(self, *args: Any, homes: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._homes = homes or {}  # command → "module:attribute"

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """A context whose help fits the terminal, also one that is narrower than click expects."""
        extra.setdefault("terminal_width", min(width_of(sys.stdout), _WIDEST_HELP) - 1)
        return super().make_context(info_name, args, parent, **extra)

    def main(self, args: Sequence[str] | None = None, *others: Any, **more: Any) -> Any:
        """Parses and runs; without arguments those of the process, which is the program then."""
        if args is None:
            entry.begin()  # again, if `varsim.cli.entry` has not been its beginning
        return super().main(args, *others, **more)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's
        """Their names, in the order given."""
        return list(self._homes)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's
        cmd_name: str,
    ) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in self._homes:
            return None
        module, _, attribute = self._homes[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        if command.epilog is None:
            command.epilog = exit_codes(DONE, WRONG_USE, INTERRUPTED)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, or an error with the nearest."""
        if args and args[0] not in self._homes and not args[0].startswith("-"):
            near = did_you_mean(args[0], self._homes)
            ctx.fail(f"there is no command {args[0]!r}{near}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; Ctrl-C ends it with 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
