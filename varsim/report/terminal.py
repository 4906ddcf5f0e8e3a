"""Width of an output stream, and whether escape sequences may be written to it."""

from __future__ import annotations

import os
from typing import Final, TextIO

FILE_WIDTH: Final = 100
"""Width of a file or a pipe, in columns."""

_UNKNOWN_WIDTH: Final = 80  # of a terminal that does not tell
_LEAST_WIDTH: Final = 20  # of a terminal that is narrower, lines are longer than it is
_WITHOUT_ESCAPES: Final = {"dumb", "unknown"}


def takes_escapes(stream: TextIO) -> bool:
    """Whether colours may be written there, and what moves the cursor.

    Only to a terminal; not if the environment has NO_COLOR with any value, nor if TERM is `dumb`.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in _WITHOUT_ESCAPES:
        return False
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Whether it is a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def width_of(stream: TextIO) -> int:
    """How many columns a line may have: as COLUMNS says, else as the terminal does."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        width = int(said)
    elif is_terminal(stream):
        try:
            width = os.get_terminal_size(stream.fileno()).columns or _UNKNOWN_WIDTH
        except (OSError, ValueError):
            width = _UNKNOWN_WIDTH
    else:
        width = FILE_WIDTH
    return max(_LEAST_WIDTH, width)
