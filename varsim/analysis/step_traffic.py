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
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from varsim.analysis.observer import EventObserver
from varsim.extension_dtypes import SIZES
from varsim.tracing.history import Event, History

_FIRST: Final = "ONLY_FIRST_REPLICA"

Place = tuple[int, int]
"""The number of a call of the program, from 1, and the number of a variable.

What happens before the first call counts for the first call; what happens after a call, before the
next one begins, counts for the call before. A commit counts at its place for all replicas, also for
those that apply it when they begin the next call.
"""


@dataclass(slots=True)
class _Committed:
    """A commit that some replicas have not applied yet."""

    step: int
    size_bytes: int
    missing: int  # replicas


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
        self._replicas = history.num_replicas
        self._committed: dict[int, _Committed] = {}  # the event of a commit → the commit
        self._fetched: dict[int, list[int]] = {}  # variable → the sizes of messages before a read

    def on_call(self, event: Event) -> None:
        """Begin the next call."""
        self.step += event.begins_step

    def on_write_by_replica(self, event: Event) -> None:
        """Count a contribution; only replica 0 sends a value if only its value is used."""
        if event.position is None or event.variable is None:
            return
        unused = event.variable in self._first_only and event.process != 0
        self._count(event, 0 if unused else size_of(event))

    def on_commit(self, event: Event) -> None:
        """Note a commit, which the replicas then apply, some of them in the next call."""
        if event.variable is not None:
            self._committed[event.event] = _Committed(self._step, size_of(event), self._replicas)

    def on_install(self, event: Event) -> None:
        """Count a commit that a replica applies."""
        commit = self._committed.get(event.cause or 0)
        if commit is None:  # of a record that begins in the middle
            self._count(event, 0)
            return
        self._count(event, commit.size_bytes, commit.step)
        commit.missing -= 1
        if not commit.missing:
            self._committed.pop(event.cause or 0)

    def on_fetch(self, event: Event) -> None:
        """Note the request for a component."""
        if event.variable is not None:
            self._fetched.setdefault(event.variable, []).append(0)

    def on_component(self, event: Event) -> None:
        """Note a component."""
        if event.variable is not None:
            self._fetched.setdefault(event.variable, []).append(size_of(event))

    def on_read_by_program(self, event: Event) -> None:
        """Count the components that were fetched for a read."""
        if event.variable is not None:
            for size_bytes in self._fetched.pop(event.variable, ()):
                self._count(event, size_bytes)

    @property
    def _step(self) -> int:
        return max(self.step, self.first_step)

    def _count(self, event: Event, size_bytes: int, step: int = 0) -> None:
        """Count a message for a call; by default for the current one."""
        if event.variable is not None:
            place = step or self._step, event.variable
            self.messages[place] += 1
            self.size_bytes[place] += size_bytes


def size_of(event: Event) -> int:
    """Return the size of the value of an event in bytes, with the indices of its rows."""
    return size_bytes(event.dtype, event.shape) + len(event.indices or b"")


@lru_cache(maxsize=1024)
def size_bytes(dtype: str | None, shape: str | None) -> int:
    """Return the size of a value in bytes; 0 if there is none, or if its dtype is no variable's.

    Args:
        dtype: The name of the dtype, as in a history.
        shape: The shape as JSON, as in a history.
    """
    if dtype is None or shape is None:
        return 0
    return int(math.prod(json.loads(shape))) * SIZES.get(dtype, 0)
