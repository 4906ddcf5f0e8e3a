"""NaN and infinity that replicas give to collectives without a variable, such as all_reduce.

An infinity can be intended: `MIN` starts with it, and with dynamic loss scaling a sum is infinite
until the scale is reduced. So an infinity counts only if its collective, at this line, never gets a
finite value again, or if a variable becomes NaN or infinite later. An op that chooses a value
(`MIN`, `MAX`) passes only NaN on; a collective without an op, such as all_gather, combines nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from varsim.analysis.findings.collectives import SUMS, Given, array_of, only_finite
from varsim.analysis.findings.context import NotFiniteAt
from varsim.analysis.findings.model import Evidence
from varsim.analysis.sampled import statistics_of
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import Event

_COMPUTES = SUMS | {"PROD"}
_CHOOSES = frozenset({"MIN", "MAX"})


@dataclass(slots=True)
class Seen:
    """The collectives at one line that got NaN or infinity."""

    first: Event  # the arrival of the first replica that gave such a value
    operation: str  # "the SUM of an all_reduce"
    is_nan: bool  # whether a replica gave NaN in the first of these collectives
    gave: list[int]  # replicas that gave NaN or infinity in it
    finite: list[int]  # replicas that gave finite values in it
    elements: tuple[int, int]  # of the first array: how many are not finite, how many there are
    evidence: Evidence = field(default_factory=Evidence)
    recovered: bool = False  # whether a later collective at this line got finite values only
    step: int = 0  # the number of the call of strategy.run, if the event does not have it


class GivenNotFinite:
    """Collects the collectives that got NaN or infinity, by line."""

    def __init__(self, at: NotFiniteAt) -> None:
        """Prepare for one history, and for storing the last events with NaN or infinity."""
        self._seen: dict[str | None, Seen] = {}  # by location, in order of occurrence
        self.passed: dict[str | None, Seen] = {}
        """The last collectives, by location, that pass values on and compute nothing."""
        self._at = at

    def examine(self, given: Given, givers: Sequence[int], *, passes: bool) -> None:
        """Examine what replicas give to a collective that the program answers now.

        Args:
            passes: Whether to store collectives that only pass values on.
        """
        op = given.arguments.get("op")
        if given.variable is not None:
            return
        if op not in _COMPUTES | _CHOOSES:
            if passes:
                self._pass_on(given, givers)
            return
        seen = self._seen.get(given.first.location)
        bad = {one: found for one in givers if (found := _bad_of(given, one, op)) is not None}
        if not bad:
            if seen is not None:
                seen.recovered = True
            return
        if seen is None:
            name = f"the {op} of {given.operation}"
            seen = self._seen[given.first.location] = seen_of(given, givers, op, name)
        seen.recovered = False
        seen.evidence.add(given.arrivals[min(bad)])
        self._at.collectives[given.first.location] = given.arrivals[min(bad)].event
        if bad.keys() - set(seen.gave):
            self._at.value = given.arrivals[min(bad)].event

    def _pass_on(self, given: Given, givers: Sequence[int]) -> None:
        """Store a collective that passes NaN or infinity on, such as all_gather or broadcast."""
        root = given.arguments.get("root")
        whose = [one for one in givers if root in {None, one}]
        if any(_bad_of(given, one, "SUM") is not None for one in whose):
            self.passed[given.first.location] = seen_of(given, whose, "SUM", given.operation)

    def reduced(self, event: Event, told: Mapping[str, str], step: int) -> None:
        """Store a `strategy.reduce` with a result that is not finite, by its notice."""
        location = event.location
        gave = [int(one) for one in told["replicas"].split(",")]
        if location not in self._seen:
            is_nan = told["what"] == "NaN"
            operation = told["operation"]
            self._seen[location] = Seen(event, operation, is_nan, gave, [], (1, 1), step=step)
        self._seen[location].recovered = False
        self._seen[location].evidence.add(event)

    def recover(self, location: str | None) -> None:
        """Record that a `strategy.reduce` at a line has a finite result again."""
        if location in self._seen:
            self._seen[location].recovered = True

    def start(self, variables_since: int | None) -> Seen | None:
        """Return the first collective that brought NaN or infinity into the program.

        Args:
            variables_since: The number of the event by which a variable first became NaN or
                infinite; None if no variable did.
        """
        for seen in self._seen.values():
            affects = variables_since is not None and seen.first.event < variables_since
            if variables_since is not None and not affects:
                return None  # a variable was first, and its finding is the cause
            if affects or seen.is_nan or not seen.recovered:
                return seen
        return None


def seen_of(given: Given, givers: Sequence[int], op: str, operation: str) -> Seen:
    """Return what replicas gave to a collective that got NaN or infinity from some of them."""
    bad = {one: found for one in givers if (found := _bad_of(given, one, op)) is not None}
    who = min(bad)
    number, size, _ = bad[who]
    return Seen(
        first=given.arrivals[who],
        operation=operation,
        is_nan=any(is_nan for *_, is_nan in bad.values()),
        gave=sorted(bad),
        finite=[one for one in givers if one not in bad],
        elements=(number, size),
    )


def told(seen: Seen, empty: Sequence[int]) -> str:
    """Return what happened.

    Args:
        empty: The replicas of `gave` whose arguments had no rows.
    """
    (bad, size), first = seen.elements, seen.first
    what = "NaN" if seen.is_nan else "infinity"
    part = f" in {bad:,} of {size:,} elements" if size > 1 else ""
    at = f" at {first.location}" if first.location else ""
    text = f"{name_replicas(seen.gave)} gave the first {what}{part} to {seen.operation} in call "
    text += f"{first.call or seen.step} of strategy.run{at}."
    if seen.finite:
        several = len(seen.finite) > 1 or size > 1
        values = "finite values" if several else "a finite value"
        text += f" In the same collective, {name_replicas(seen.finite)} gave {values}."
        text += f" The result passes the {what} on to all replicas."
    if empty:
        text += f" The arguments of {name_replicas(empty)} had no rows."
    if seen.evidence.count > 1:
        text += f" {times(seen.evidence.count, 'such collective')} got NaN or infinity."
    return text


MASKED: Final = (
    " No variable, later collective or result got NaN or infinity, as far as they were recorded: "
    "the program may mask it."
)
"""The sentence about NaN or infinity of which nothing later is known."""


def became(followers: Sequence[str]) -> str:
    """Return the sentence about the variables that a result has made NaN or infinite."""
    if not followers:
        return ""
    return f" Replicas then wrote NaN or infinity to: {', '.join(followers)}."


def _bad_of(given: Given, replica_id: int, op: str) -> tuple[int, int, bool] | None:
    """Return the first array of a replica that is not finite, as the op passes it on.

    Returns:
        How many elements are not finite, how many there are, and whether one of them is NaN; None
        if there is no such array, or if it was not recorded.
    """
    for event in given.arrays.get(replica_id, ()):
        array = array_of(event)
        if array is None or only_finite(array):
            continue
        statistics = statistics_of(event)
        if statistics is not None:  # only a sample of the elements was recorded
            number = statistics.nans if op in _CHOOSES else statistics.not_finite
            if number:
                return number, math.prod(json.loads(event.shape or "[]")), statistics.nans > 0
            continue
        nan = np.isnan(array)
        bad = nan if op in _CHOOSES else ~np.isfinite(array)
        if bad.any():
            return int(bad.sum()), array.size, bool(nan.any())
    return None
