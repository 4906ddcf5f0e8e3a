"""Compare the results of collectives with those of a single device.

Such a result is an intermediate value: a program may sum means, and divide by the number of
replicas later. So a difference is shown, and never judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, value_of
from varsim.analysis.findings.compared import CollectiveDifference
from varsim.analysis.observer import EventObserver
from varsim.analysis.oracle import FIRST_REPLICA
from varsim.analysis.rounding import close, wide
from varsim.extension_dtypes import named
from varsim.texts.facts import index_of
from varsim.tracing.history import Event, History

_Key = tuple[str, str]
"""A collective's operation and its file:line."""

_ARRIVALS: Final = "kind = 'arrive' AND process = ? AND operation = ? AND location = ?"


class CollectiveResults(EventObserver):
    """Compares what replica 0 gets from each collective, in order, line by line."""

    def __init__(self, history: History, oracle: History) -> None:
        self._history, self._oracle = history, oracle
        self._open: dict[tuple[int | None, int | None, str | None], _Key] = {}
        self._theirs: dict[_Key, Iterator[Event]] = {}
        self._found: dict[_Key, CollectiveDifference] = {}
        self._step = 0

    def on_call(self, event: Event) -> None:
        """Count the steps."""
        self._step += event.begins_step
        self._open.clear()

    def on_arrive_by_replica(self, event: Event) -> None:
        """Store where replica 0 waits."""
        if event.process == FIRST_REPLICA and event.operation and event.location:
            self._open[event.call, event.position, event.members] = event.operation, event.location

    def on_result(self, event: Event) -> None:
        """Compare a result of replica 0."""
        key = self._open.get((event.call, event.position, event.members))
        if key is None or event.replica != FIRST_REPLICA:
            return
        if key not in self._theirs:
            self._theirs[key] = self._results_of(key)
        other = next(self._theirs[key], None)
        got, wanted = _value(event), None if other is None else _value(other)
        if got is None or wanted is None or other is None or event.shape != other.shape:
            return
        self._compare(key, event, got, wanted)

    def differences(self) -> tuple[CollectiveDifference, ...]:
        """Return the comparison of each line, also of those without a difference."""
        return tuple(self._found.values())

    def _compare(self, key: _Key, event: Event, got: Flat, wanted: Flat) -> None:
        before = self._found.get(key)
        if before is None:
            operation, location = key
            before = CollectiveDifference(operation=operation, location=location)
        found = replace(before, compared=before.compared + 1)
        if not close(got, wanted):
            if not before.count:
                with np.errstate(all="ignore"):
                    apart = np.nan_to_num(np.abs(wide(got) - wide(wanted)), nan=np.inf)
                index = int(apart.argmax())
                found = replace(
                    found,
                    step=self._step,
                    event=event.event,
                    element=_index(index, event),
                    got=got[index].item(),
                    wanted=wanted[index].item(),
                )
            found = replace(found, count=before.count + 1)
        self._found[key] = found

    def _results_of(self, key: _Key) -> Iterator[Event]:
        """Yield the single device's results at a line; none if the numbers of calls differ."""
        counts = [
            one.connection.execute(
                f"SELECT count(*) FROM events WHERE {_ARRIVALS}",  # noqa: S608  # our own condition
                (FIRST_REPLICA, *key),
            ).fetchone()[0]
            for one in (self._history, self._oracle)
        ]
        if counts[0] != counts[1]:
            return
        for arrival in self._oracle.events(_ARRIVALS, (FIRST_REPLICA, *key)):
            where = "kind = 'result' AND call = ? AND position = ? AND replica = ?"
            ours = (arrival.call, arrival.position, FIRST_REPLICA)
            yield from (
                one for one in self._oracle.events(where, ours) if one.members == arrival.members
            )


def _value(event: Event) -> Flat | None:
    """Return a value of numbers; None if it was not recorded, is empty or is not numeric."""
    if event.dtype is None:
        return None
    dtype = named(event.dtype)
    value = value_of(event, dtype) if dtype.kind in "iufc" else None
    return value if value is not None and len(value) else None


def _index(element: int, event: Event) -> tuple[int, ...] | None:
    shape = [int(one) for one in (event.shape or "[]").strip("[]").split(",") if one.strip()]
    return index_of(element, shape) if shape else None
