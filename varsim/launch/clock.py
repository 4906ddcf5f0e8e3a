"""Measure time without the time in which this process was stopped."""

from __future__ import annotations

import time
from typing import Final

LATE_S: Final = 0.5
"""A wait that ends this late shows that the process was stopped or had no processor."""


class Clock:
    """A steady clock for deadlines that other processes must meet.

    A process can be stopped, for example by Ctrl-Z or when a laptop sleeps. When the process
    continues, it has not yet received the answers that arrived in the meantime. The clock does not
    count the time of the stop, so the process can receive these answers before its deadline.
    """

    def __init__(self) -> None:
        self._stopped_s = 0.0

    def now_s(self) -> float:
        """Return the time in seconds."""
        return time.monotonic() - self._stopped_s

    def waited(self, until_s: float) -> float:
        """Record the end of a wait that should have ended at `until_s` at the latest.

        Call this before anything else reads the clock, so that the time never goes back.

        Returns:
            The time in seconds.
        """
        now_s = time.monotonic() - self._stopped_s
        if now_s - until_s <= LATE_S:
            return now_s
        self._stopped_s += now_s - until_s
        return until_s
