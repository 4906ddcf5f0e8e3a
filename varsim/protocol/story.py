"""What the traceback says that a replica sends when its function raises: the error, and where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_FRAME: Final = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+).*\n', re.MULTILINE)
_CODE: Final = "    "  # before the lines of code below a frame
_OURS: Final = Path(__file__).parents[1]
_WORKLOADS: Final = _OURS / "workloads"
_LIBRARIES: Final = {"site-packages", "dist-packages"}


def said_in(story: str) -> str:
    """The exception at the end of a traceback, with its class and all lines of its text."""
    end = 0
    for frame in _FRAME.finditer(story):
        end = frame.end()
    lines = story[end:].rstrip().split("\n")
    while len(lines) > 1 and lines[0].startswith(_CODE):
        del lines[0]
    return "\n".join(lines)


def place_in(story: str) -> str | None:
    """file:line of the innermost frame of a traceback that is the user's; None if there is none.

    A file below the working directory is told by its path from there, as other places are.
    """
    last = None
    for frame in _FRAME.finditer(story):
        path = Path(frame["file"])
        if _is_users(path):
            here = Path.cwd()
            shown = path.relative_to(here) if path.is_relative_to(here) else path
            last = f"{shown}:{frame['line']}"
    return last


def _is_users(path: Path) -> bool:
    if _OURS in path.parents:
        return _WORKLOADS in path.parents
    return not _LIBRARIES.intersection(path.parts)
