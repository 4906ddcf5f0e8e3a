"""Extract the error and its location from the traceback that a replica sends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from varsim.protocol.paths import shown_path

_FRAME: Final = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+).*\n', re.MULTILINE)
_CODE: Final = "    "  # the indentation of the lines of code below a frame
_OURS: Final = Path(__file__).parents[1]
_WORKLOADS: Final = _OURS / "workloads"
_LIBRARIES: Final = {"site-packages", "dist-packages"}


def exception_in(text: str) -> str:
    """Return the exception at the end of a traceback: its class and all lines of its text."""
    end = 0
    for frame in _FRAME.finditer(text):
        end = frame.end()
    lines = text[end:].rstrip().split("\n")
    while len(lines) > 1 and lines[0].startswith(_CODE):
        del lines[0]
    return "\n".join(lines)


def location_in(text: str) -> str | None:
    """Return file:line of the innermost frame of user code in a traceback; None if there is none.

    The file name is shortened by `shown_path`.
    """
    last = None
    for frame in _FRAME.finditer(text):
        if _is_users(Path(frame["file"])):
            last = f"{shown_path(frame['file'])}:{frame['line']}"
    return last


def with_shown_paths(text: str) -> str:
    """Return the traceback with file names that are shortened by `shown_path`.

    So the names do not depend on the machine.
    """

    def shown(frame: re.Match[str]) -> str:
        return frame.group().replace(frame["file"], shown_path(frame["file"]), 1)

    return _FRAME.sub(shown, text)


def _is_users(path: Path) -> bool:
    if _OURS in path.parents:
        return _WORKLOADS in path.parents
    return not _LIBRARIES.intersection(path.parts)


def class_of(said: str) -> str:
    """Return the class of an exception from its usual text, `ValueError: text`."""
    return said.partition(":")[0]
