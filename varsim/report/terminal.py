"""Width of an output stream, and whether escape sequences may be written to it."""

from __future__ import annotations

import os
from typing import Final, TextIO

FILE_WIDTH: Final = 100
"""Columns of a line in a file or a pipe."""

_UNKNOWN_WIDTH: Final = 80  # of a terminal that does not report its width
_LEAST_WIDTH: Final = 20  # lines are not made narrower than this
_WITHOUT_ESCAPES: Final = {"dumb", "unknown"}


def takes_escapes(stream: TextIO) -> bool:
    """Return whether escape sequences for colours and the cursor may be written to a stream.

    Only to a terminal, unless NO_COLOR is set to any value or TERM is `dumb`.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in _WITHOUT_ESCAPES:
        return False
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def width_of(stream: TextIO) -> int:
    """Return the columns of a line: COLUMNS if it is set, else the terminal's width."""
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
