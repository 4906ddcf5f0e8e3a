"""Record where a program uses the number of replicas.

A program that splits its batches must know the number of replicas, or leave the split to varsim.
A program that does neither gives each replica a batch of a fixed size, so that a run on a single
device is no oracle for it.
"""

from __future__ import annotations

from typing import Any

from varsim.location import location_of_caller
from varsim.tracing.trace import Trace


class CountUse:
    """The first use of a strategy's number of replicas in this process."""

    def __init__(self) -> None:
        self._first: tuple[str, str] | None = None  # what was used, file:line
        self._trace: Trace | None = None

    def by_caller(self, what: str) -> None:
        """Record a use, if the caller of the calling function belongs to the program.

        Args:
            what: What the program uses, such as "num_replicas_in_sync".
        """
        if self._first is None and (location := location_of_caller(3)):
            self.note(what, location)

    def note(self, what: str, location: str) -> None:
        """Record a use by the program at a location."""
        if self._first is None:
            self._first = what, location
            if self._trace is not None:
                self._trace.counted(*self._first)

    def __reduce__(self) -> Any:
        """Pickle without the trace, which belongs to this process."""
        return CountUse, ()

    def record_in(self, trace: Trace | None) -> None:
        """Record the first use, which may have been earlier, in a trace. None changes nothing."""
        if trace is not None:
            self._trace = trace
            if self._first is not None:
                trace.counted(*self._first)
