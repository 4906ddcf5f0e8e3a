"""Define the exit codes of `varsim`, and the errors with which a command ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Final, TextIO, cast

import click

from varsim.cli.ctrl_c import INTERRUPTED as INTERRUPTED  # noqa: PLC0414  # one of the codes

DONE: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
INVALID: Final = 3
UNKNOWN: Final = 4
FOUND: Final = 5
NOT_WRITTEN: Final = 6

_MEANINGS: Final = {
    DONE: "done",
    FAILED: "the run failed",
    WRONG_USE: "wrong use, or a wrong experiment",
    INVALID: "varsim broke a promise (INVALID)",
    UNKNOWN: "varsim cannot tell whether it broke a promise (UNKNOWN)",
    FOUND: "--fail-on found something",
    NOT_WRITTEN: "done, but not everything could be written",
    INTERRUPTED: "interrupted",
}


def exit_codes(*codes: int) -> str:
    """Return the meaning of the given exit codes, or of all exit codes by default."""
    said = (f"{code} {what}" for code, what in _MEANINGS.items() if not codes or code in codes)
    return f"Exit codes: {'; '.join(said)}."


def exit_meanings(meanings: Mapping[int, str], *codes: int) -> str:
    """Return exit codes of a command that gives some of them a meaning of its own."""
    said = {**{code: _MEANINGS[code] for code in codes}, **meanings}
    return f"Exit codes: {'; '.join(f'{code} {said[code]}' for code in sorted(said))}."


EXIT_CODES: Final = exit_codes(DONE, FAILED, WRONG_USE, NOT_WRITTEN, INTERRUPTED)
"""The exit codes of a command that runs something and does not judge it."""


class WrongUse(click.ClickException):
    """The user asked for something impossible; the text says what is possible."""

    exit_code = WRONG_USE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error, by default to stderr."""
        from varsim.cli.output import complain

        complain("Error", self.message, cast("TextIO | None", file))


def only_one(**options: bool) -> str | None:
    """Return the name of the option that is given; None if there is none.

    Raises:
        WrongUse: Several options are given, of which only one is possible.
    """
    given = [name for name, is_given in options.items() if is_given]
    if len(given) > 1:
        said = " and ".join(f"--{name}" for name in given)
        raise WrongUse(f"{said} exclude each other: give one of them")
    return given[0] if given else None


class NotWritten(WrongUse):
    """A file could not be written or removed; the text says which, and why."""

    exit_code = NOT_WRITTEN


class Failed(WrongUse):
    """The command could not do what the user asked for; the text says why."""

    exit_code = FAILED
