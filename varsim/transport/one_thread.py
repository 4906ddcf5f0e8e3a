"""Guard a cluster against simultaneous use by two threads.

This is the only module that uses `threading`. It only identifies threads; it starts no thread.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Final

from varsim.errors import ContextError
from varsim.interrupts import UNINTERRUPTED

this_thread: Final = threading.get_ident
"""Returns the number of the calling thread. The system reuses the number after the thread ends."""


def thread_name() -> str:
    """Return the name of the calling thread."""
    return threading.current_thread().name


def threads() -> frozenset[int]:
    """Return the numbers of all threads of this process."""
    return frozenset(sys._current_frames())  # noqa: SLF001  # `threading` lists only its own threads


class OneThread:
    """Refuses other threads while one thread uses the cluster: libzmq would abort the process."""

    def __init__(self) -> None:
        self._user: dict[str, int] = {}
        self._depth = 0
        self._runs: list[tuple[object, float]] = []  # operations and start times, innermost last

    def __enter__(self) -> None:
        UNINTERRUPTED.begin()  # Ctrl-C must not stop varsim in the middle of an operation
        me = this_thread()
        if self._user.setdefault("thread", me) != me:
            UNINTERRUPTED.end()
            raise ContextError(self._refusal())
        self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if not self._depth:
            del self._user["thread"]
        UNINTERRUPTED.end()

    def begins(self, what: object) -> None:
        """Record the operation that this thread begins, for the error in another thread."""
        self._runs.append((what, time.monotonic()))

    def ends(self) -> None:
        """Record that the innermost operation has ended."""
        self._runs.pop()

    def _refusal(self) -> str:
        user = self._user.get("thread")
        names = [thread.name for thread in threading.enumerate() if thread.ident == user]
        who = names[0] if names else str(user)
        try:
            what, since_s = self._runs[-1]
        except IndexError:  # the other thread reads or writes a variable, or has just finished
            does = "which is reading or writing a variable"
        else:
            does = f"which has been running {what} for {time.monotonic() - since_s:.1f} s"
        return (
            f"this strategy is in use by thread {who!r}, {does}; this is "
            f"thread {thread_name()!r}.\n"
            "  Only one thread at a time can use a strategy. Wait until the other thread is done "
            "(join it, or put a lock around each use), or give each thread its own strategy."
        )
