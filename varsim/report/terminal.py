"""Find the width of an output stream, and whether it may get escape sequences."""

from __future__ import annotations

import os
from typing import Final, TextIO

WIDTH: Final = 80
"""Columns of a line in a file, in a pipe, and on a terminal that does not report its width."""

_WIDEST: Final = 100  # longer lines are hard to read, on any terminal
_LEAST_WIDTH: Final = 20  # lines are not made narrower than this
_WITHOUT_ESCAPES: Final = {"dumb", "unknown"}


def takes_escapes(stream: TextIO) -> bool:
    """Return whether a stream takes escape sequences for colours and the cursor.

    A terminal takes escape sequences, with two exceptions: NO_COLOR has a value, or TERM is `dumb`
    or `unknown`.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in _WITHOUT_ESCAPES:
        return False
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # the stream is closed
        return False


def width_of(stream: TextIO) -> int:
    """Return the number of columns of a line.

    The environment variable COLUMNS has priority. Without it, a terminal has its own width, but at
    most 100 columns, and a file or a pipe has 80 columns.
    """
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return max(_LEAST_WIDTH, int(said))
    width = _terminal_width(stream) if is_terminal(stream) else WIDTH
    return max(_LEAST_WIDTH, min(_WIDEST, width))


def _terminal_width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH
