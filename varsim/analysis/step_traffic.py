"""The messages and bytes of each variable in each call, as the record shows them.

They are counted as in a run's summary: as if each variable were sent alone. A contribution to a
merge, a commit that a replica applies, the request for a component, and the component are one
message each. Components that no read of the program needs are not counted: varsim fetches them at
the end of a run, for its value lens. The record does not show the contributions to exchanges of
deferred writes, nor what some policies send, so the counts can be smaller than in the summary.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import lru_cache
from typing import Final

from varsim import extension_dtypes
from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event, History

_INDEX_BYTES: Final = 8  # of a row of a sparse write
_FIRST: Final = "ONLY_FIRST_REPLICA"

Place = tuple[int, int]
"""The number of a call of the program, from 1, and the number of a variable.

What happens before the first call counts for the first call; what happens after a call, before the
next one begins, counts for the call before.
"""


class StepTraffic(EventObserver):
    """Counts the messages and bytes of each variable, call by call."""

    def __init__(self, history: History) -> None:
        self.names = {number: row.name for number, row in history.variables.items()}
        self._first_only = {
            number for number, row in history.variables.items() if row.aggregation == _FIRST
        }
        self.first_step = history.calls_before + 1
        self.step = history.calls_before
        self.messages: Counter[Place] = Counter()
        self.size_bytes: Counter[Place] = Counter()
        self._committed: dict[int, int] = {}  # variable → the size of its last commit
        self._fetched: dict[int, list[int]] = {}  # variable → the sizes of messages before a read

    def on_call(self, event: Event) -> None:
        """Begin the next call."""
        self.step += event.begins_step

    def on_write_by_replica(self, event: Event) -> None:
        """Count a contribution; only replica 0 sends a value if only its value is used."""
        if event.position is None or event.variable is None:
            return
        unused = event.variable in self._first_only and event.process != 0
        self._count(event, 0 if unused else _size_of(event))

    def on_commit(self, event: Event) -> None:
        """Note the size of a commit, which the replicas then apply."""
        if event.variable is not None:
            self._committed[event.variable] = _size_of(event)

    def on_install(self, event: Event) -> None:
        """Count a commit that a replica applies."""
        if event.variable is not None:
            self._count(event, self._committed.get(event.variable, 0))

    def on_fetch(self, event: Event) -> None:
        """Note the request for a component."""
        if event.variable is not None:
            self._fetched.setdefault(event.variable, []).append(0)

    def on_component(self, event: Event) -> None:
        """Note a component."""
        if event.variable is not None:
            self._fetched.setdefault(event.variable, []).append(_size_of(event))

    def on_read_by_program(self, event: Event) -> None:
        """Count the components that were fetched for a read."""
        if event.variable is not None:
            for size_bytes in self._fetched.pop(event.variable, ()):
                self._count(event, size_bytes)

    def _count(self, event: Event, size_bytes: int) -> None:
        if event.variable is not None:
            place = max(self.step, self.first_step), event.variable
            self.messages[place] += 1
            self.size_bytes[place] += size_bytes


def _size_of(event: Event) -> int:
    """Return the size of the value of an event, with the indices of its rows."""
    if event.dtype is None or event.shape is None:
        return 0
    size_bytes, rows = _size(event.dtype, event.shape)
    return size_bytes + (rows * _INDEX_BYTES if event.indices is not None else 0)


@lru_cache(maxsize=1024)
def _size(dtype: str, shape: str) -> tuple[int, int]:
    """Return the bytes of an array, and the number of its rows."""
    dimensions = json.loads(shape)
    size_bytes = math.prod(dimensions) * extension_dtypes.named(dtype).itemsize
    return size_bytes, dimensions[0] if dimensions else 1
