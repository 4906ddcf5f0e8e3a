"""Restrict varsim to the thread that runs a replica's function.

A thread that a replica's function starts, directly or in a pool, has no replica context. Without
this module the thread would use the default strategy, and compute wrong results without an error. A
process that the function forks has a copy of the replica and of the replica's socket. Without this
module the process would wait forever.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from varsim.errors import ContextError
from varsim.location import user_location
from varsim.threads import this_thread, thread_name


class Home:
    """A replica that runs in this process."""

    def __init__(self, replica_id: int) -> None:
        self.replica_id = replica_id
        self.thread = this_thread()
        self.forked = False
        """Whether this object is a copy of the replica in a forked process."""
        self.guests: frozenset[int] | None = frozenset()
        """The threads that do not belong to the replica, and may use varsim; None to refuse all
        threads except the replica's."""
        self._refused: list[ContextError] = []
        self._returned: set[str] = set()  # the locations of warnings that were returned

    def refuse(self) -> ContextError:
        """Return the error for a thread or process that does not belong to the replica."""
        location = user_location()
        at = f" at {location}" if location else ""
        text = _FORKED if self.forked else _TEXT
        error = ContextError(text.format(thread=thread_name(), replica_id=self.replica_id, at=at))
        error.location = location
        self._refused.append(error)
        return error

    def leave_behind(self) -> None:
        """Record that this process was forked, so that the replica does not run here."""
        self.forked, self.thread = True, _NO_THREAD

    def end_if_forked(self) -> None:
        """End this process if the replica's function forked it. Call this after the function.

        Only the replica is allowed to run the code after its function. Otherwise two processes
        would read the same socket.
        """
        if self.forked:
            _end(sys.exception())

    def silent(self, raised: BaseException | None = None) -> list[ContextError]:
        """Return the errors in refused threads since the last call of this method.

        An error in a thread ends only the thread, so the program may not see the error.

        Args:
            raised: The error of the replica's function, which the program sees. The result does not
                contain this error.
        """
        refused, self._refused = self._refused, []
        return [error for error in refused if error is not raised]

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Yield warnings about refused threads of a function that has returned."""
        for error in self.silent():
            if error.location not in self._returned:
                self._returned.add(error.location)
                at = f" at {error.location}" if error.location else ""
                yield f"{_SILENT.format(at=at)}\n  {error}", error.location


_SILENT = (
    "a thread that a replica's function started used varsim{at}, and varsim raised an error in "
    "this thread; the function has returned without the error"
)

_TEXT = (
    "thread {thread!r} of replica {replica_id} uses varsim{at}, but only the thread that runs "
    "the replica's function can use varsim.\n"
    "  Compute in the thread, pass the result to the replica's function (a list and "
    "thread.join(), or future.result()), and let the function read, write or reduce."
)

_FORKED = (
    "a process that the function of replica {replica_id} has forked uses varsim{at}, but only the "
    "replica's own process can use varsim.\n"
    "  Compute in the forked process, pass the result to the replica's function (pool.map(), or a "
    "queue), and let the function read, write or reduce."
)

_NO_THREAD = 0
"""An identifier that no thread has."""

_homes: list[Home] = []
"""The replicas that run in this process now."""


def _in_fork() -> None:
    for home in _homes:
        home.leave_behind()


os.register_at_fork(after_in_child=_in_fork)


def _end(error: BaseException | None) -> None:
    """End a forked process with the exit code that Python would use, but without cleanup."""
    if isinstance(error, SystemExit):
        code = error.code
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
            code = 1
        os._exit((code or 0) & 0xFF)
    if error is not None:
        traceback.print_exception(error)
    os._exit(0 if error is None else 1)


def settle(home: Home) -> None:
    """Allow only the replica's thread to use varsim in this process from now on."""
    home.guests = None
    _homes[:] = [home]


@contextmanager
def inhabited(home: Home, guests: frozenset[int]) -> Iterator[None]:
    """Let a replica run in this process during the `with` block; new threads belong to the replica.

    Args:
        guests: The existing threads, which do not belong to the replica.
    """
    home.thread, home.guests = this_thread(), guests
    _homes.append(home)
    try:
        yield
    finally:
        _homes.remove(home)


def check_thread() -> None:
    """Refuse a thread that a replica's function started in this process.

    Raises:
        ContextError: Only the replica's own thread can use varsim; the text says what to do.
    """
    if not _homes:
        return
    me = this_thread()
    if any(home.thread == me for home in _homes):
        return
    for home in reversed(_homes):
        if home.guests is None or me not in home.guests:
            raise home.refuse()
