"""A cluster is used by one thread at a time, and a replica by its own thread alone.

The only module that knows of threads: it asks which one runs, and starts none.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from varsim.errors import ContextError
from varsim.interrupts import WHOLE

this_thread: Final = threading.get_ident
"""The number of the thread that calls it; free for another thread once this one has ended."""


def thread_name() -> str:
    """The name of the thread that calls it, as the program gave it or Python did."""
    return threading.current_thread().name


def threads() -> frozenset[int]:
    """The numbers of all threads of this process."""
    return frozenset(sys._current_frames())  # noqa: SLF001  # threading knows only its own


class OneThread:
    """Refuses a second thread while one is using the cluster: a ZeroMQ socket would abort."""

    def __init__(self) -> None:
        self._user: dict[str, tuple[int, str]] = {}
        self._depth = 0
        self._runs: list[tuple[object, float]] = []  # what runs, innermost last, and since when

    def __enter__(self) -> None:
        WHOLE.begin()  # what the engine does is done whole, whenever Ctrl-C comes
        me = this_thread()
        holder = self._user.get("thread") or self._user.setdefault("thread", (me, thread_name()))
        if holder[0] != me:
            WHOLE.end()
            raise ContextError(self._refusal(holder[1]))
        self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if not self._depth:
            del self._user["thread"]
        WHOLE.end()

    @contextmanager
    def running(self, what: object) -> Iterator[None]:
        """Within the block this thread uses the cluster, for what a second thread is told."""
        with self:
            self._runs.append((what, time.monotonic()))
            try:
                yield
            finally:
                self._runs.pop()

    def _refusal(self, user: str) -> str:
        try:
            what, since_s = self._runs[-1]
        except IndexError:  # it reads or writes a variable, or has just ended
            does = "which reads or writes a variable now"
        else:
            does = f"which runs {what} since {time.monotonic() - since_s:.1f} s"
        return (
            f"this strategy is in use by thread {user!r}, {does}; this is thread "
            f"{thread_name()!r}.\n"
            "  One thread at a time can use a strategy. Wait until the other one is done (join it, "
            "or put a lock around each use), or give each thread a strategy of its own."
        )
