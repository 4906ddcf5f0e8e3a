"""Ctrl-C: it ends the workload, and nothing that comes after."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

_SHORTEST_S: Final = 1e-3  # 0 would switch a timer off


class OutOfTime(Exception):
    """The time of a `within` block is over."""


class Interrupts:
    """Within the block, SIGINT raises KeyboardInterrupt unless `ignore` was called last.

    So a second Ctrl-C does not cut off the saving of what the first one has ended. Everything
    after `ignore` must be bounded in time. Outside the main thread it does nothing.
    """

    def __init__(self) -> None:
        self._ignored = False
        self._before: Any = None

    def __enter__(self) -> Self:
        try:
            self._before = signal.signal(signal.SIGINT, self._handle)
        except ValueError:  # this is not the main thread
            self._before = None
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def ignore(self) -> None:
        """From now on SIGINT does nothing."""
        self._ignored = True

    def heed(self) -> None:
        """From now on SIGINT raises again."""
        self._ignored = False

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._ignored:
            raise KeyboardInterrupt


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the block when so many seconds have passed.

    For what may wait for workers that are busy with a user's code. Outside the main thread there
    is no limit but that of the wait itself.
    """

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    try:
        handler_before = signal.signal(signal.SIGALRM, ring)
    except ValueError:  # this is not the main thread
        yield
        return
    started_s = time.monotonic()
    left_before_s, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before)
        if left_before_s:  # somebody else's timer goes on
            left_s = left_before_s - (time.monotonic() - started_s)
            signal.setitimer(signal.ITIMER_REAL, max(_SHORTEST_S, left_s))
