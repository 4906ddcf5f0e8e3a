"""Write errors with their tracebacks, and extract an error and its location from such a text."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final, cast

from varsim.errors import VarsimError
from varsim.extent import NO_TEXT, is_writable
from varsim.protocol.paths import shown_path
from varsim.raised import with_causes, without_text

TITLE: Final = "Traceback (most recent call last):\n"
"""The first line of each traceback."""

_FRAME: Final = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+).*\n', re.MULTILINE)
_WHOLE_FRAME: Final = re.compile(
    r'^  File "(?P<file>.+)", line \d+.*\n(?:    .*\n|  \[Previous line .*\n)*', re.MULTILINE
)
_CODE: Final = "    "  # the indentation of the lines of code below a frame
_OURS: Final = Path(__file__).parents[1]
_WORKLOADS: Final = _OURS / "workloads"
_LIBRARIES: Final = {"site-packages", "dist-packages"}


def text_of(error: BaseException) -> str:
    """Return the text of an error, or why it has no text."""
    try:
        return str(error) if is_writable(error) else NO_TEXT
    except BaseException as another:  # Ctrl-C ends only this `__str__`, which may be slow
        return f"(no text: its __str__ raised {type(another).__name__})"


def notes_of(error: BaseException) -> list[str]:
    """Return the notes of an error that are texts."""
    notes = BaseException.__getattribute__(error, "__dict__").get("__notes__")
    return [one for one in notes if type(one) is str] if type(notes) is list else []


def recorded(error: BaseException) -> str:
    """Return the class of an error, and its text for a record."""
    is_ours = issubclass(type(error), VarsimError)  # `isinstance` would run code of the class
    text = cast("VarsimError", error).recorded if is_ours else text_of(error)
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def written(error: BaseException, trace: TracebackType | None) -> str:
    """Return an exception with its traceback, as Python prints it, or why it has no text."""
    try:
        if all(map(is_writable, with_causes(error))):
            return "".join(traceback.format_exception(type(error), error, trace))
        what = f"{type(error).__qualname__}: {NO_TEXT}"
    except BaseException as another:  # methods of the exception's class can raise anything
        what = without_text(error, another)
    frames = "".join(traceback.format_tb(trace))
    return f"{TITLE}{frames}{what}\n"


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


def of_program(text: str, error: BaseException) -> str:
    """Return a traceback without the frames of varsim, which only pass on or raise the error.

    A traceback that ends in varsim is whole, unless the error is one of varsim's: it may show a
    fault of varsim.
    """
    frames = [*_FRAME.finditer(text)]
    passes = isinstance(error, VarsimError) or not frames or not _is_ours(Path(frames[-1]["file"]))
    return _WHOLE_FRAME.sub(_unless_ours, text) if passes else text


def _unless_ours(frame: re.Match[str]) -> str:
    return "" if _is_ours(Path(frame["file"])) else frame.group()


def with_shown_paths(text: str) -> str:
    """Return the traceback with file names that are shortened by `shown_path`.

    So the names do not depend on the machine.
    """

    def shown(frame: re.Match[str]) -> str:
        return frame.group().replace(frame["file"], shown_path(frame["file"]), 1)

    return _FRAME.sub(shown, text)


def _is_ours(path: Path) -> bool:
    """Return whether a file belongs to varsim, and is no workload."""
    return _OURS in path.parents and _WORKLOADS not in path.parents


def _is_users(path: Path) -> bool:
    if _OURS in path.parents:
        return not _is_ours(path)
    return not _LIBRARIES.intersection(path.parts)


def class_of(said: str) -> str:
    """Return the class of an exception from its usual text, `ValueError: text`."""
    return said.partition(":")[0]
