"""Request a worker's stack by a signal: the worker writes the stack into a pipe.

By default, a process ignores this signal. So the signal does nothing if user code has removed the
handler. The handler is `faulthandler`, which writes the stack even while C code runs.
"""

from __future__ import annotations

import faulthandler
import os
import re
import select
import signal
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from varsim.private import FILE_MODE
from varsim.protocol.paths import shown_path
from varsim.transport.sockets import timeout_ms
from varsim.visible import visible

_SIGNAL: Final = signal.SIGURG
_ANSWER_S: Final = 0.2
"""Time limit for a worker to write its stack. A worker needs microseconds unless it is stopped."""

_MORE_S: Final = 0.01  # the longest time between two parts of a stack
_READ_BYTES: Final = 2**16
_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_MOST_FRAMES: Final = 12  # number of innermost frames in a report
_ESCAPED: Final = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")
"""The escapes that `faulthandler` writes for non-ASCII characters."""

_FROZEN: Final = "<frozen "  # modules of Python that import and start other modules
_OURS: Final = Path(__file__).parents[1]  # the package `varsim`
_WORKERS: Final = "varsim_worker"
_INSTALLED: Final = tuple(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib"))


def show_stack_on_signal(directory: str, replica_id: int) -> None:
    """Make this process write its stack when it gets the signal."""
    path = _path(Path(directory), replica_id)
    os.mkfifo(path, FILE_MODE)
    # Open the pipe also for reading. Otherwise `open` would wait for a reader, and a write without
    # a reader would fail.
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    faulthandler.register(_SIGNAL, file=pipe, all_threads=False)


class Stacks:
    """Finds the lines of the program that workers of this machine run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def location(self, replica_id: int, process_id: int) -> str | None:
        """Return the line of the user's program as file:line; None if no stack arrives."""
        return user_location(self._stack(replica_id, process_id))

    def frames(self, replica_id: int, process_id: int) -> tuple[str, ...]:
        """Return the innermost frames of the program; empty if no stack arrives."""
        return program_frames(self._stack(replica_id, process_id))

    def _stack(self, replica_id: int, process_id: int) -> str:
        try:
            pipe = os.open(_path(self._directory, replica_id), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:  # the pipe does not exist yet, or this process has no descriptor left
            return ""
        try:
            _read(pipe, 0)  # drop a delayed answer to an earlier signal
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process_id, _SIGNAL)
            return _read(pipe, _ANSWER_S)
        finally:
            os.close(pipe)


def _path(directory: Path, replica_id: int) -> Path:
    return directory / f"stack-{replica_id}"


def _read(pipe: int, timeout_s: float) -> str:
    """Return the text from a pipe; stop when no more text arrives within the timeout."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    parts: list[bytes] = []
    while any(event & select.POLLIN for _, event in poll.poll(timeout_ms(timeout_s))):
        parts.append(os.read(pipe, _READ_BYTES))
        timeout_s = _MORE_S
    return b"".join(parts).decode("ascii", "replace")


def user_location(stack: str) -> str | None:
    """Return the location of the innermost frame of the user's code, or else of a library's code.

    Args:
        stack: The text that `faulthandler` has written.
    Returns:
        file:line; None if all frames are varsim's.
    """
    others = None
    for filename, line, _ in _frames(stack):
        location = f"{shown_path(filename)}:{line}"
        if not filename.startswith(_INSTALLED):
            return location
        others = others or location
    return others


def program_frames(stack: str) -> tuple[str, ...]:
    """Return the frames of the program and its libraries as "file:line in function".

    Args:
        stack: The text that `faulthandler` has written; its innermost frame is the first one.
    """
    frames = islice(_frames(stack), _MOST_FRAMES)
    return tuple(f"{shown_path(filename)}:{line} in {name}" for filename, line, name in frames)


def _frames(stack: str) -> Iterator[tuple[str, str, str]]:
    """Yield the file, the line and the function of each frame that is not varsim's."""
    for written, line, name in _FRAME.findall(stack):
        filename = _unescaped(written)
        path = Path(filename)
        is_ours = _OURS in path.parents or path.parent.name == _WORKERS
        if not is_ours and not filename.startswith(_FROZEN):
            yield filename, line, visible(_unescaped(name))


def _unescaped(written: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[found.lastindex or 0], 16)), written)
