"""Unnamed collectives: pairs from different lines, and pairs that only the order determines.

A reduction, a gather or a merge_call without a name is paired only by its position in the call. If
two paired collectives are in different lines, they may be different operations. If one line makes
several collectives in one call, these may also be different operations, but the record does not
show this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    MOST_EVENTS,
    Certainty,
    Finder,
    Finding,
    FindingKind,
    most,
)
from varsim.analysis.outcome import Note
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import Event

OTHER_LINES: Final = FindingKind(name="collectives of different lines", certainty=Certainty.PATTERN)

NAME: Final = "`name=`"
"""The option that names collectives, so that they are paired by name."""

_MOST_LINES: Final = 5
_UNKNOWN: Final = "an unknown location"


class _PairedByOrder(NamedTuple):
    """A line with several unnamed collectives in one call of a replica."""

    location: str
    operation: str  # all_reduce, all_gather or merge_call
    most: int  # the largest number of these collectives in one call of one replica


@dataclass(slots=True)
class _Crossed:
    """Unnamed collectives that pair the same set of different lines."""

    first: Mapping[int, Event]  # replica → its arrival at the first such pair
    count: int = 0
    locations: Counter[str] = field(default_factory=Counter)
    events: list[int] = field(default_factory=list)


class Pairing(Finder):
    """Finds unnamed collectives that were paired across different lines."""

    kinds = (OTHER_LINES,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        # call → members and position of a collective → replica → its arrival
        self._came: dict[int, dict[tuple[str | None, int], dict[int, Event]]] = {}
        self._in_call: dict[int, Counter[tuple[int, str]]] = {}  # call → (replica, line) → count
        self._lines: dict[str, _PairedByOrder] = {}
        self._crossed: dict[frozenset[str], _Crossed] = {}

    def on_arrive(self, event: Event) -> None:
        """Store the arrival of a replica at a collective."""
        operation, name = event.operation or "", event.note
        if name is not None or event.position is None or event.call is None:
            return
        if operation == "join":
            return  # joins belong together, wherever they are
        came = self._came.setdefault(event.call, {})
        came.setdefault((event.members, event.position), {})[event.process] = event
        location = event.location or ""
        counts = self._in_call.setdefault(event.call, Counter())
        counts[event.process, location] += 1
        count = counts[event.process, location]
        if count > 1 and location and count > self._lines.get(location, _NONE).most:
            self._lines[location] = _PairedByOrder(location, operation, count)

    def on_answer_by_program(self, event: Event) -> None:
        """Compare the lines from which the replicas arrived."""
        if event.call is None or event.position is None:
            return
        came = self._came.get(event.call, {}).pop((event.members, event.position), {})
        locations = frozenset(one.location or "" for one in came.values())
        if len(came) < len(self.givers(event)) or len(locations) < 2:
            return
        crossed = self._crossed.setdefault(locations, _Crossed(came))
        crossed.count += 1
        crossed.locations.update(location or _UNKNOWN for location in locations)
        room = MOST_EVENTS - len(crossed.events)
        crossed.events += sorted(one.event for one in came.values())[:room]

    def on_finish(self, event: Event) -> None:
        """Drop the arrivals of the call."""
        self._came.pop(event.call or 0, None)
        self._in_call.pop(event.call or 0, None)

    def finish(self) -> list[Finding]:
        """Return one finding for each set of lines that were paired."""
        return [self._finding(one) for one in self._crossed.values()]

    def notes(self) -> list[Note]:
        """Return a note for each line with collectives that are paired only by their order."""
        misordered = self.context.misordered
        lines = [line for where, line in self._lines.items() if where not in misordered]
        notes = [
            Note(
                text=f"whether all replicas make the unnamed {line.operation}s at {line.location}, "
                f"up to {line.most} in a call, in the same order: they are paired only by order",
                option=NAME,
            )
            for line in lines[:_MOST_LINES]
        ]
        if len(lines) > _MOST_LINES:
            more = times(len(lines) - _MOST_LINES, "more line")
            text = f"whether all replicas make the unnamed collectives in {more} in the same order"
            notes.append(Note(text=text, option=NAME))
        return notes

    def _finding(self, crossed: _Crossed) -> Finding:
        who: dict[str, list[int]] = {}
        for replica_id, event in sorted(crossed.first.items()):
            who.setdefault(event.location or _UNKNOWN, []).append(replica_id)
        operation = next(iter(crossed.first.values())).operation
        fewest = sorted(who.items(), key=lambda one: (len(one[1]), one[1]))
        sides = [f"{operation} at {location} ({name_replicas(ids)})" for location, ids in fewest]
        return Finding(
            kind=OTHER_LINES,
            variable_id=None,
            variable="",
            locations=most(crossed.locations),
            count=crossed.count,
            what=(
                f"Collectives in different lines were paired {times(crossed.count, 'time')}; the "
                f"first time {' with '.join(sides)}. Without a name, collectives are paired only "
                f"by call order, and {_EFFECT[operation == 'merge_call']}."
            ),
            remedy=_REMEDY + _of_groups([tuple(ids) for ids in who.values()], operation),
            events=tuple(crossed.events),
        )


_REMEDY: Final = (
    "If these lines are one operation, give it the same name= on every replica. If not, make every "
    "replica run the same lines in the same order. With strict=True, such a pair is an error."
)


def _of_groups(sides: Sequence[tuple[int, ...]], operation: str | None) -> str:
    """Return the remedy for replicas that mean to combine values within groups, or ""."""
    if operation == "merge_call" or any(len(ids) < _LEAST_MEMBERS for ids in sides):
        return ""
    first = ", ".join(map(str, sides[0]))
    return (
        f" If only replicas of one line are to combine their values, give the collective a group: "
        f"group=strategy.group([{first}])."
    )


_LEAST_MEMBERS: Final = 2
"""Least number of replicas of each line that can be a group: one alone has nothing to combine."""

_NONE: Final = _PairedByOrder("", "", 0)
_EFFECT: Final = {
    False: "their values are mixed",
    True: "replica 0's function runs for all",
}
