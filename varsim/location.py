"""Find locations in the user's program, as file:line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import CodeType, FrameType, TracebackType
from typing import Final, ParamSpec, TypeVar

from varsim.errors import VariableError, VarsimWarning
from varsim.protocol.paths import shown_path

_NOT_THE_USERS: tuple[str, ...] = (
    "varsim",
    "varsim_worker",
    "asyncio",
    "cloudpickle",
    "concurrent.futures",
    "contextlib",
    "functools",
    "runpy",
    "threading",
)
"""Modules whose lines are never shown: varsim, and modules that call user functions."""

_PROGRAMS: Final = "varsim.workloads"
"""The package of varsim whose modules are programs: their lines are shown."""

_JOB: Final = f"{_PROGRAMS}.job"
"""The module of this package that is not a program."""


_locations: dict[tuple[int, int], str] = {}
"""A cache: (id of a code object, offset in the code) → file:line, or "" for code of varsim.

Programs repeat writes in the same lines, so the cache saves most of the time for finding locations.
"""

_codes: dict[int, CodeType] = {}
"""The code objects whose ids are in the cache. They are kept so that their ids stay unique."""


def user_location(depth: int = 2) -> str:
    """Return the file:line of the innermost frame that does not belong to varsim.

    Args:
        depth: Number of innermost frames to skip, because they belong to varsim. The frame of this
            function is one of them.
    """
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001  # inspect.stack() reads files
    while frame is not None:
        location = _locations.get((id(frame.f_code), frame.f_lasti))
        if location is None:
            location = _store(frame.f_code, frame.f_lasti, _location_of(frame))
        if location:
            return location
        frame = frame.f_back
    return ""


def location_of_caller(depth: int = 2) -> str:
    """Return the file:line of one frame; "" if it belongs to varsim.

    Args:
        depth: The number of the frame; 0 is that of this function.
    """
    return location_of_frame(sys._getframe(depth))  # noqa: SLF001  # inspect.stack() reads files


def location_of_frame(frame: FrameType) -> str:
    """Return the file:line that a frame runs now; "" if the frame belongs to varsim."""
    location = _locations.get((id(frame.f_code), frame.f_lasti))
    return (
        _store(frame.f_code, frame.f_lasti, _location_of(frame)) if location is None else location
    )


_on_behalf: ContextVar[str] = ContextVar("varsim_location", default="")
"""The line of a replica for which this process works now; "" if it works for no replica."""


@contextmanager
def on_behalf_of(location: str) -> Iterator[None]:
    """Let `program_location` return the line of a replica in the `with` block."""
    token = _on_behalf.set(location)
    try:
        yield
    finally:
        _on_behalf.reset(token)


def program_location() -> str:
    """Return the line of the program: of a replica for which this process works, or of its own."""
    return _on_behalf.get() or user_location()


def _store(code: CodeType, offset: int, location: str) -> str:
    if len(_locations) >= _MAX_LOCATIONS:
        _locations.clear()
        _codes.clear()
    _codes[id(code)] = code
    _locations[id(code), offset] = location
    return location


def _location_of(frame: FrameType) -> str:
    spec = frame.f_globals.get("__spec__")  # has the module's own name for `python -m module`
    module = frame.f_globals.get("__name__", "") if spec is None else spec.name
    if any(_is_in(module, name) for name in _NOT_THE_USERS) and not _is_program(module):
        return ""
    return f"{shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _is_program(module: str) -> bool:
    """Return whether a module is a built-in workload."""
    return module != _JOB and _is_in(module, _PROGRAMS)


def from_program(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the first frames, which belong to varsim.

    If all frames belong to varsim, return the whole traceback.
    """
    inner = trace
    while inner is not None and not _location_of(inner.tb_frame):
        inner = inner.tb_next
    return inner or trace


def last_line(trace: TracebackType | None) -> str:
    """Return the file:line of the innermost frame of a traceback that is not varsim's; or ""."""
    line = ""
    while trace is not None:
        if _location_of(trace.tb_frame):
            line = location_in_code(trace.tb_frame.f_code, trace.tb_lineno)
        trace = trace.tb_next
    return line


def location_of_code(code: CodeType) -> str:
    """Return the file:line of the first line of a function's code."""
    location = _locations.get((id(code), _FIRST_LINE))
    if location is None:
        location = _store(code, _FIRST_LINE, location_in_code(code, code.co_firstlineno))
    return location


def location_in_code(code: CodeType, line: int) -> str:
    """Return the file:line of a line of a function's code."""
    return f"{shown_path(code.co_filename)}:{line}"


_FIRST_LINE = -1  # the offset in the cache for a function's first line
_MAX_LOCATIONS = 100_000  # at this size the cache is emptied, because programs can create code


P = ParamSpec("P")
T = TypeVar("T")


def located(method: Callable[P, T]) -> Callable[P, T]:
    """Return a method that adds the location of the program to errors about a variable."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except VariableError as error:
            error.location = error.location or user_location()
            raise

    return call


def warn(text: str, location: str = "") -> None:
    """Show a warning at a location in the user's program; by default at the current line."""
    filename, _, line = (location or user_location()).rpartition(":")
    warnings.warn_explicit(
        text, VarsimWarning, filename or "<unknown>", int(line) if line.isdigit() else 0
    )
