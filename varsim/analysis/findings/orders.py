"""Collectives of one line that replicas call in another order, as for metrics in a dict.

A collective without a name is paired only by its position in the call. If the replicas give the
same values to the all_reduces of one line, but in another order, each result mixes several values.

Not reported:
- Whole numbers: counts may be permuted by chance, or because each replica has one class.
- Values with a zero: a replica that gives zeros for the parts of others gathers by hand.
- Values that differ between replicas: the record does not show their order; `pairing.py` notes it.
- An order of its own on each of three or more replicas, with which no collective has a value twice:
  the program rotates the values on purpose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.collectives import Given, array_of
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
)
from varsim.extension_dtypes import kind_of
from varsim.texts.faces import Face, pairing_in_words, reducing_all
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import Event

OTHER_ORDER: Final = FindingKind(name="collectives in another order", certainty=Certainty.PATTERN)

_MOST_DIGITS: Final = 6


class _Value(NamedTuple):
    """What one replica gave to a collective."""

    digest: int
    text: str
    arrival: Event  # of the replica at the collective


_Column = dict[int, _Value]
"""What each replica gave to one collective."""


@dataclass(slots=True)
class _Line:
    """The collectives of one line."""

    op: str  # SUM, for example
    calls: int = 0  # calls of strategy.run in which all replicas gave the same values
    excluded: bool = False  # whether a call shows that the order is no mistake
    fractional: bool = False  # whether a value was no whole number
    odd: tuple[int, ...] = ()  # the replicas with another order in the first such call
    first: tuple[_Column, ...] = ()  # the columns of the first call with another order
    evidence: Evidence = field(default_factory=Evidence)


class Orders(Finder):
    """Finds unnamed collectives of one line to which replicas give values in another order."""

    kinds = (OTHER_ORDER,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        # call → line → its collectives in this call, in order
        self._open: defaultdict[int, defaultdict[str, list[_Column]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._lines: dict[str, _Line] = {}

    def on_answer_by_program(self, event: Event) -> None:
        """Keep what the replicas gave to an all_reduce without a name."""
        given = self.context.collectives.answered
        if given is None or given.operation != "all_reduce" or event.call is None:
            return
        locations = {one.location for one in given.arrivals.values()}
        location = next(iter(locations)) or ""
        named = any(one.note is not None for one in given.arrivals.values())
        if named or event.members or len(locations) > 1 or given.variable is not None:
            return
        line = self._lines.get(location)
        if line is None:
            line = self._lines[location] = _Line(str(given.arguments.get("op", "")))
        if line.excluded:
            return
        column = _column(given, line)
        whole = column is not None and len(column) == len(self.present(event.call))
        if column is None or not whole:
            line.excluded = True
            return
        self._open[event.call][location].append(column)

    def on_finish(self, event: Event) -> None:
        """Compare the orders of the replicas in this call."""
        for location, columns in self._open.pop(event.call or 0, {}).items():
            self._judge(self._lines[location], columns)

    def finish(self) -> list[Finding]:
        """Return one finding for each line whose collectives replicas call in another order."""
        return [
            _finding(location, line, self.context.face)
            for location, line in self._lines.items()
            if self._is_told(location, line)
        ]

    def _is_told(self, location: str, line: _Line) -> bool:
        told = bool(line.odd) and line.fractional and not line.excluded
        if told:
            self.context.misordered.add(location)
        return told

    def _judge(self, line: _Line, columns: list[_Column]) -> None:
        orders = {one: tuple(column[one].digest for column in columns) for one in columns[0]}
        if len({tuple(sorted(order)) for order in orders.values()}) > 1:
            line.excluded = True
            return
        line.calls += 1
        usual = Counter(orders.values()).most_common(1)[0][0]
        odd = tuple(one for one, order in orders.items() if order != usual)
        if not odd:
            return
        if not line.odd:
            line.odd, line.first = odd, tuple(columns)
        different = [len({one.digest for one in column.values()}) for column in columns]
        if len(orders) > 2 and set(different) == {len(orders)}:
            line.excluded = True
            return
        mixed = [column for column, many in zip(columns, different, strict=True) if many > 1]
        *others, last = (value.arrival for value in mixed[0].values())
        line.evidence.add(last, *(one.event for one in others), count=len(mixed))


def _column(given: Given, line: _Line) -> _Column | None:
    """Return what each replica gave; None if a value was not recorded, or shows no mistake."""
    column: _Column = {}
    for replica_id, arrival in sorted(given.arrivals.items()):
        events = given.arrays.get(replica_id, [])
        if len(events) != 1:
            return None
        digest, array = digest_of(events[0]), array_of(events[0])
        if digest is None or array is None or kind_of(array.dtype) != "f" or not array.any():
            return None
        line.fractional = line.fractional or bool((array != array.round()).any())
        column[replica_id] = _Value(digest, _text(array), arrival)
    return column


def _text(array: Any) -> str:
    if array.size == 1:
        return f"{float(array.reshape(-1)[0]):.{_MOST_DIGITS}g}"
    return f"an array that begins with {float(array.reshape(-1)[0]):.{_MOST_DIGITS}g}"


def _order(columns: tuple[_Column, ...], replica_id: int) -> str:
    return ", ".join(column[replica_id].text for column in columns)


def _finding(location: str, line: _Line, face: Face) -> Finding:
    first: Mapping[int, _Value] = line.first[0]
    others = tuple(one for one in first if one not in line.odd)
    what = (
        f"In {times(line.calls, 'call')} of strategy.run, all replicas gave the same values to the "
        f"unnamed all_reduces at {location}, but not in the same order. The first time, "
        f"{name_replicas(line.odd)} gave {_order(line.first, line.odd[0])}, and "
        f"{name_replicas(others)} gave {_order(line.first, others[0])}. Without a name, "
        "collectives are paired only by call order, so each result mixes several values."
    )
    return finding_of(
        OTHER_ORDER,
        None,
        line.evidence,
        what,
        pairing_in_words(face),
        paste=reducing_all(face, line.op) if line.op else (),
    )
