"""Which values were compared with a single device, which differ, and which could not be compared.

Rules explain some differences (see `factor.py`). All others are shown without a judgement: they may
be mistakes, or come from rounding, other random numbers or other batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.found import times
from varsim.analysis.findings.share import Share
from varsim.analysis.findings.subject import Subject
from varsim.analysis.oracle import FIRST_REPLICA, Oracle
from varsim.analysis.returned import Returned
from varsim.analysis.rounding import close, wide
from varsim.tracing.history import PROGRAM, Event


class Deed(Enum):
    """What happened to a variable at a place, in words."""

    MERGED = "written by all replicas"
    WRITTEN = "written by the program"
    READ = "read by the program"

    __hash__ = object.__hash__

    @property
    def kind(self) -> str:
        """Of its events."""
        return "read" if self is Deed.READ else "write"

    @property
    def process(self) -> int:
        """Of its events on a single device."""
        return FIRST_REPLICA if self is Deed.MERGED else PROGRAM


class Spot(NamedTuple):
    """Where values are compared: a variable, what happens to it, and where in the program."""

    variable_id: int
    deed: Deed
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Values of a variable, at one place, that differ from a single device beyond rounding."""

    variable_id: int
    variable: str  # its name
    deed: Deed
    place: str  # file:line in the program
    count: int  # number of values that differ
    compared: int  # number of values that were compared
    step: int  # of the first that differs: how many calls of strategy.run had begun
    inside: bool  # whether that one happened in the last of them, and not after it
    event: int  # of that one, by number
    element: int | None  # of an array, the one that differs most; None for a scalar
    got: Any  # its value; None if the sizes differ
    wanted: Any  # on a single device
    explained: bool = False  # whether a finding explains it by a rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompared:
    """Values of a variable that could not be compared."""

    variable: str  # its name
    place: str  # file:line in the program; "" if it applies to all places
    why: str  # a clause


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The result of a comparison with a single device."""

    values: int  # how many were compared
    places: int  # at how many places
    differences: tuple[Difference, ...]  # the one that showed first comes first
    uncompared: tuple[Uncompared, ...]
    own: tuple[str, ...]  # variables of which each replica has its own by design
    rules_tried: bool = True  # not if no number of the single device is made of the replicas'
    returned: tuple[Returned, ...] = ()  # by the program

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """The differences that no finding explains by a rule."""
        return tuple(one for one in self.differences if not one.explained)

    @property
    def differs(self) -> bool:
        """Whether anything differs that no finding explains."""
        return bool(self.unexplained) or any(one.differs for one in self.returned)

    def explained_at(self, known: Collection[tuple[int | None, str]]) -> Compared:
        """The same, of which findings explain some.

        Args:
            known: Variables and places that are in findings about values.
        """
        differences = (
            replace(one, explained=one.explained or (one.variable_id, one.place) in known)
            for one in self.differences
        )
        return replace(self, differences=tuple(differences))


@dataclass(slots=True)
class _Line:
    """The comparisons at one spot."""

    count: int = 0
    differing: int = 0
    first: Difference | None = None


@dataclass(slots=True)
class Account:
    """Counts comparisons, and keeps the first that differs at each spot."""

    variables: Mapping[int, Subject]
    step: int = 0
    lines: dict[Spot, _Line] = field(default_factory=dict)
    lacking: Counter[Spot] = field(default_factory=Counter)
    unlike: set[Spot] = field(default_factory=set)
    """Where some replicas wrote more often than others."""

    def add(self, share: Share) -> None:
        """Counts a comparison."""
        spot = spot_of(share.event)
        line = self.lines.get(spot)
        if line is None:
            line = self.lines[spot] = _Line()
        line.count += 1
        if not close(share.got, share.wanted):
            line.differing += 1
            if line.first is None:
                line.first = self._difference(spot, share)

    def lacks(self, event: Event) -> None:
        """Count a value without a counterpart, or with one that was not recorded."""
        self.lacking[spot_of(event)] += 1

    def _difference(self, spot: Spot, share: Share) -> Difference:
        sized = len(share.got) == len(share.wanted)
        element = _most_apart(share.got, share.wanted) if sized else 0
        return Difference(
            variable_id=spot.variable_id,
            variable=self.variables[spot.variable_id].name,
            deed=spot.deed,
            place=spot.place,
            count=1,
            compared=1,
            step=self.step,
            inside=share.event.call is not None,
            event=share.event.event,
            element=element if len(share.got) > 1 else None,
            got=share.got[element].item() if sized else None,
            wanted=share.wanted[element].item() if sized else None,
        )

    def compared(self, oracle: Oracle) -> Compared:
        """Return the result of all comparisons."""
        lines = {spot: line for spot, line in self.lines.items() if not self._is_own(spot)}
        differences = [
            replace(line.first, count=line.differing, compared=line.count)
            for line in lines.values()
            if line.first is not None
        ]
        return Compared(
            values=sum(line.count for line in lines.values()),
            places=len({spot.place for spot in lines}),
            differences=tuple(sorted(differences, key=lambda one: one.event)),
            uncompared=tuple(self._uncompared(oracle)),
            own=tuple(one.name for one in self.variables.values() if not one.aggregation),
        )

    def _is_own(self, spot: Spot) -> bool:
        """Whether each replica writes a value of its own there, which one device does not have."""
        return spot.deed is Deed.MERGED and not self.variables[spot.variable_id].aggregation

    def _uncompared(self, oracle: Oracle) -> Iterator[Uncompared]:
        for number, subject in self.variables.items():
            if not subject.aggregation:
                continue
            why = oracle.why_unknown(number)
            if why:
                yield Uncompared(variable=subject.name, place="", why=why)
            elif subject.gathered and not any(
                spot.variable_id == number for spot in (*self.lines, *self.lacking)
            ):
                why = "it was neither read nor written outside strategy.run"
                yield Uncompared(variable=subject.name, place="", why=why)
        spots = dict.fromkeys((*self.lacking, *self.unlike))
        for spot in spots:
            if not self._is_own(spot):
                name = self.variables[spot.variable_id].name
                yield Uncompared(variable=name, place=spot.place, why=self._why(spot, oracle))

    def _why(self, spot: Spot, oracle: Oracle) -> str:
        """Why values at a spot were not compared."""
        if spot in self.unlike:
            return "some replicas write it there more often than others"
        uneven = oracle.uneven.get(
            (spot.variable_id, spot.deed.kind, spot.deed.process, spot.place)
        )
        if uneven is None:
            return (
                f"{times(self.lacking[spot], 'value')} were not recorded, here or on a single "
                "device"
            )
        here, there = uneven
        many = "never" if not there else "once" if there == 1 else f"{there:,} times"
        return f"{spot.deed.value} {here:,} times, and on a single device {many}"


def spot_of(event: Event) -> Spot:
    """Where an event is counted."""
    if event.kind == "read":
        deed = Deed.READ
    else:
        deed = Deed.WRITTEN if event.process == PROGRAM else Deed.MERGED
    return Spot(event.variable or 0, deed, event.place or "")


def _most_apart(got: Flat, wanted: Flat) -> int:
    """The element in which two values differ most."""
    one, other = wide(got), wide(wanted)
    with np.errstate(all="ignore"):
        apart = np.abs(one - other)
    unknown = np.isnan(apart) & ~(np.isnan(one) & np.isnan(other)) & (one != other)
    return int(np.where(unknown, np.inf, np.nan_to_num(apart, nan=0.0, posinf=np.inf)).argmax())
