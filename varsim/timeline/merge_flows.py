"""The arrows of merges: write of a replica → reduction → commit → install → read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from varsim.timeline.trace_events import Entry, Point, flow
from varsim.tracing.history import Event


class _Merge(NamedTuple):
    """What commits of one collective are made of."""

    call: int | None
    variable: int | None
    position: int | None


class MergeFlows:
    """Follows each contribution to the first read of the value that was made of it."""

    def __init__(self, numbers: count[int]) -> None:
        """Take the numbers of flows from `numbers`."""
        self._numbers = numbers
        self._writes: dict[_Merge, dict[int, Point]] = {}
        self._made: dict[tuple[int | None, int | None], dict[int, list[Point]]] = {}
        self._installed: dict[tuple[int | None, int], list[Point]] = {}

    def write(self, event: Event, point: Point) -> None:
        """Note a contribution of a replica."""
        self._writes.setdefault(_merge_of(event), {})[event.process] = point

    def takes(self, event: Event) -> bool:
        """Return whether a commit ends a merge whose writes are known."""
        return event.position is not None and _merge_of(event) in self._writes

    def commit(self, event: Event, reduction: Point, point: Point) -> None:
        """Note a commit, and the slice of its reduction."""
        writes = self._writes[_merge_of(event)]
        of = list(writes) if event.replica is None else [event.replica]
        made = self._made.setdefault((event.variable, event.version), {})
        for replica in of:
            if replica in writes:
                made[replica] = [writes.pop(replica), reduction, point]
        if not writes:
            del self._writes[_merge_of(event)]

    def install(self, event: Event, point: Point) -> Iterator[Entry]:
        """Note that a replica has the new value; yield the arrows of a value without a read."""
        yield from self._end(event.variable, event.process)
        made = self._made.get((event.variable, event.version), {})
        points = made.pop(event.process, None)
        if points is not None:
            self._installed[event.variable, event.process] = [*points, point]
        if not made:
            self._made.pop((event.variable, event.version), None)

    def read(self, event: Event, point: Point) -> Iterator[Entry]:
        """Yield the arrows that end at the first read of a value by a replica."""
        points = self._installed.pop((event.variable, event.process), None)
        if points is not None:
            yield from flow(next(self._numbers), "merge", [*points, point])

    def finish(self) -> Iterator[Entry]:
        """Yield the arrows of the values that were not read, or not installed."""
        for variable, replica in list(self._installed):
            yield from self._end(variable, replica)
        for made in self._made.values():
            for points in made.values():
                yield from flow(next(self._numbers), "merge", points)

    def _end(self, variable: int | None, replica: int) -> Iterator[Entry]:
        points = self._installed.pop((variable, replica), None)
        if points is not None:
            yield from flow(next(self._numbers), "merge", points)


def _merge_of(event: Event) -> _Merge:
    return _Merge(event.call, event.variable, event.position)
