"""Compare values with a single device that are not those of distributed variables.

They are results of collectives and of calls, and the values of plain variables after each call.

Such a result is an intermediate value: a program may sum means, and divide by the number of
replicas later. So a difference is shown, and never judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from varsim.analysis.arithmetic import Flat, value_of
from varsim.analysis.findings.compared import CollectiveDifference
from varsim.analysis.observer import EventObserver
from varsim.analysis.oracle import FIRST_REPLICA
from varsim.analysis.plain_values import PlainName, last_of_calls, plain_name
from varsim.analysis.rounding import close, most_apart, wide
from varsim.extension_dtypes import named
from varsim.texts.facts import index_of
from varsim.tracing.history import Event, History
from varsim.tracing.notices import PLAIN

_Key = tuple[str, str, str | None]
"""An operation, its file:line, and of a `take` the number of the value in the result.

For a plain variable: PLAIN, the file:line of its creation, and its name.
"""

_RUN: Final = "run"

_ARRIVALS: Final = "kind = 'arrive' AND process = 0 AND operation = ? AND location = ?"
_TAKES: Final = (
    "kind = 'take' AND operation = ? AND location = ? AND note = ? "
    "AND (replica IS NULL OR replica = 0)"
)


class CollectiveResults(EventObserver):
    """Compares what replica 0 gets from each collective, in order, line by line.

    It also compares what the program gets from `strategy.reduce` and `strategy.gather`, and from
    `strategy.run` if all replicas return the same value; and plain variables, after each call
    whose replicas use them.
    """

    def __init__(self, history: History, oracle: History) -> None:
        self._history, self._oracle = history, oracle
        self._open: dict[tuple[int | None, int | None, str | None], _Key] = {}
        self._theirs: dict[_Key, Iterator[Event]] = {}
        self._found: dict[_Key, CollectiveDifference] = {}
        self._same: list[Event] = []  # what the replicas returned in one place, so far
        self._reductions: dict[_Key, str] = {}
        self._num_replicas = history.num_replicas
        self._step = 0
        self._plain = last_of_calls(history)
        self._last_of_calls = {number for last in self._plain.values() for number in last}

    def on_call(self, event: Event) -> None:
        """Count the steps."""
        self._step += event.begins_step
        self._open.clear()

    def on_arrive_by_replica(self, event: Event) -> None:
        """Store where replica 0 waits."""
        if event.process == FIRST_REPLICA and event.operation and event.location:
            key = event.operation, event.location, None
            self._open[event.call, event.position, event.members] = key

    def on_give_by_replica(self, event: Event) -> None:
        """Store how a collective combines the values."""
        key = self._open.get((event.call, event.position, event.members))
        if key is not None and event.process == FIRST_REPLICA and event.note:
            self._reductions.setdefault(key, str(json.loads(event.note).get("op") or ""))

    def on_result(self, event: Event) -> None:
        """Compare a result of replica 0."""
        key = self._open.get((event.call, event.position, event.members))
        if key is None or event.replica != FIRST_REPLICA:
            return
        self._compare_with_next(key, event)

    def on_take(self, event: Event) -> None:
        """Compare a value that the program gets."""
        key = event.operation or "", event.location or "", event.note
        if event.operation != _RUN:
            self._compare_with_next(key, event)
            return
        if event.replica == FIRST_REPLICA:
            self._same.clear()
        self._same.append(event)
        if event.replica == self._num_replicas - 1 and len(self._same) == self._num_replicas:
            first = self._same[0]
            alike = all((one.shape, one.value) == (first.shape, first.value) for one in self._same)
            self._compare_with_next(key, first, is_compared=alike)

    def on_notice(self, event: Event) -> None:
        """Compare the value of a plain variable after the last use of a call."""
        if event.event in self._last_of_calls:
            name, created_at = plain_name(event)
            self._compare_with_next((PLAIN, created_at, name), event)

    def _compare_with_next(self, key: _Key, event: Event, *, is_compared: bool = True) -> None:
        if key not in self._theirs:
            self._theirs[key] = self._results_of(key)
        other = next(self._theirs[key], None)
        got, wanted = _value(event), None if other is None else _value(other)
        if is_compared and got is not None and wanted is not None and len(got) == len(wanted):
            self._compare(key, event, got, wanted)

    def differences(self) -> tuple[CollectiveDifference, ...]:
        """Return the comparison of each line, also of those without a difference."""
        return tuple(self._found.values())

    def _compare(self, key: _Key, event: Event, got: Flat, wanted: Flat) -> None:
        before = self._found.get(key)
        if before is None:
            operation, location, name = key
            before = CollectiveDifference(
                operation=operation,
                location=location,
                variable=(name or "") if operation == PLAIN else "",
                reduction=self._reductions.get(key, ""),
            )
        found = replace(before, compared=before.compared + 1)
        if not close(got, wanted):
            if not before.count:
                index = most_apart(got, wanted)
                found = replace(
                    found,
                    step=self._step,
                    event=event.event,
                    element=_index(index, event),
                    got=got[index].item(),
                    wanted=wanted[index].item(),
                )
            by = (self._num_replicas, 1 / self._num_replicas)
            scaled = any(close(wide(got), wide(wanted) * factor) for factor in by)
            found = replace(found, count=before.count + 1, scaled=before.scaled + scaled)
        self._found[key] = found

    def _results_of(self, key: _Key) -> Iterator[Event]:
        """Yield the single device's results at a line; none if the numbers of calls differ."""
        operation, location, note = key
        if operation == PLAIN:
            yield from self._plain_of(PlainName(note or "", location))
            return
        where = _ARRIVALS if note is None else _TAKES
        about = (operation, location) if note is None else (operation, location, note)
        counts = [
            one.connection.execute(
                f"SELECT count(*) FROM events WHERE {where}",  # noqa: S608  # our own conditions
                about,
            ).fetchone()[0]
            for one in (self._history, self._oracle)
        ]
        if counts[0] != counts[1]:
            return
        for event in self._oracle.events(where, about):
            if note is not None:
                yield event
                continue
            found = "kind = 'result' AND call = ? AND position = ? AND replica = 0"
            for one in self._oracle.events(found, (event.call, event.position)):
                if one.members == event.members:
                    yield one

    def _plain_of(self, name: PlainName) -> Iterator[Event]:
        numbers = last_of_calls(self._oracle).get(name, [])
        if len(numbers) == len(self._plain[name]):
            for number in numbers:
                yield from self._oracle.events("event = ?", (number,))


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
