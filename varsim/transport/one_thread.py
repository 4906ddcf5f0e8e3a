"""Prevent the use of a cluster by two threads at once, and delay Ctrl-C during operations."""

from __future__ import annotations

import time
from types import TracebackType

from varsim.errors import ContextError
from varsim.interrupts import UNINTERRUPTED
from varsim.threads import name_of, this_thread, thread_name


class OneThread:
    """Refuses other threads while one thread uses the cluster, because libzmq would abort.

    Ctrl-C is delayed until the operation waits for messages or ends.
    """

    def __init__(self) -> None:
        self._user: dict[str, int] = {}
        self._depth = 0
        self._runs: list[tuple[object, float]] = []  # operations and start times, innermost last
        self.torn = False
        """Whether an interrupt has ended an operation outside a wait.

        Then the state, the messages and the record can be inconsistent.
        """

    def __enter__(self) -> None:
        UNINTERRUPTED.begin()
        me = this_thread()
        if self._user.setdefault("thread", me) != me:
            UNINTERRUPTED.end()
            raise ContextError(self._refusal())
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.torn = self.torn or error is not UNINTERRUPTED.raised
        self._depth -= 1
        if not self._depth:
            del self._user["thread"]
        UNINTERRUPTED.end()

    def begins(self, what: object) -> None:
        """Record which operation this thread begins, for an error in another thread."""
        self._runs.append((what, time.monotonic()))

    def ends(self) -> None:
        """Record that the innermost operation has ended."""
        self._runs.pop()

    def _refusal(self) -> str:
        who = name_of(self._user.get("thread"))
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
