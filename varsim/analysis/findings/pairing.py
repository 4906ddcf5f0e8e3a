"""Unnamed collectives: those that met in different lines, and those that only order distinguishes.

A reduction, a gather or a merge_call without a name is paired by call order alone. Those in
different lines may be different operations. Several in one line of a call may be, too, but the
record does not show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from varsim.analysis.findings.found import MOST_EVENTS, Finder, Finding, Kind, most, times
from varsim.errors import name_replicas
from varsim.tracing.history import Event

_UNKNOWN: Final = "an unknown place"


class PairedByOrder(NamedTuple):
    """A line with several unnamed collectives in one call of a replica."""

    place: str
    kind: str  # all_reduce, all_gather or merge_call
    most: int  # in one call of one replica


@dataclass(slots=True)
class _Crossed:
    """Meetings of unnamed collectives from the same different lines."""

    first: Mapping[int, Event]  # by replica
    count: int = 0
    places: Counter[str] = field(default_factory=Counter)
    events: list[int] = field(default_factory=list)


class Pairing(Finder):
    """Finds unnamed collectives that met although replicas stood in different lines."""

    def __init__(self, num_replicas: int) -> None:
        self._num_replicas = num_replicas
        self._came: dict[int, dict[int, dict[int, Event]]] = {}  # call → meeting → replica
        self._in_call: dict[int, Counter[tuple[int, str]]] = {}  # call → replica, place
        self._lines: dict[str, PairedByOrder] = {}
        self._crossed: dict[frozenset[str], _Crossed] = {}

    def on_meet(self, event: Event) -> None:
        """A replica comes to a collective, or has the program do something."""
        kind, name = event.operation or "", event.note
        if name is not None or event.meeting is None or event.call is None:
            return
        came = self._came.setdefault(event.call, {})
        came.setdefault(event.meeting, {})[event.process] = event
        place = event.place or ""
        counts = self._in_call.setdefault(event.call, Counter())
        counts[event.process, place] += 1
        count = counts[event.process, place]
        if count > 1 and place and count > self._lines.get(place, _NONE).most:
            self._lines[place] = PairedByOrder(place, kind, count)

    def on_answer_by_program(self, event: Event) -> None:
        """All have met, unless the answer is to a question."""
        if event.call is None or event.meeting is None:
            return
        came = self._came.get(event.call, {}).pop(event.meeting, {})
        places = frozenset(one.place or "" for one in came.values())
        if len(came) < self._num_replicas or len(places) < 2:
            return
        crossed = self._crossed.setdefault(places, _Crossed(came))
        crossed.count += 1
        crossed.places.update(place or _UNKNOWN for place in places)
        room = MOST_EVENTS - len(crossed.events)
        crossed.events += sorted(one.event for one in came.values())[:room]

    def on_finish(self, event: Event) -> None:
        """The call is over."""
        self._came.pop(event.call or 0, None)
        self._in_call.pop(event.call or 0, None)

    def finish(self) -> list[Finding]:
        """One finding for each set of lines that met."""
        return [self._finding(one) for one in self._crossed.values()]

    def paired_by_order(self) -> tuple[PairedByOrder, ...]:
        """The lines with several collectives that only order distinguishes."""
        return tuple(self._lines.values())

    def _finding(self, crossed: _Crossed) -> Finding:
        who: dict[str, list[int]] = {}
        for replica_id, event in sorted(crossed.first.items()):
            who.setdefault(event.place or _UNKNOWN, []).append(replica_id)
        kind = next(iter(crossed.first.values())).operation
        fewest = sorted(who.items(), key=lambda one: (len(one[1]), one[1]))
        sides = [f"{kind} at {place} ({name_replicas(ids)})" for place, ids in fewest]
        return Finding(
            kind=Kind.OTHER_LINES,
            variable_id=None,
            variable="",
            places=most(crossed.places),
            count=crossed.count,
            what=(
                f"{times(crossed.count, 'time')} replicas met in different lines, first "
                f"{' with '.join(sides)}. Without a name they are paired by call order alone, and "
                f"{_EFFECT[kind == 'merge_call']}."
            ),
            remedy=(
                "If they are the same operation, give it the same name= on every replica; if "
                "not, make every replica run the same lines in the same order. strict=True "
                "refuses it."
            ),
            events=tuple(crossed.events),
        )


_NONE: Final = PairedByOrder("", "", 0)
_EFFECT: Final = {
    False: "their values are mixed",
    True: "replica 0's function runs for all",
}
