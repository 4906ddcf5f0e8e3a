"""Sums of values that an all_reduce of the same call has already summed.

If every replica writes the result of an all_reduce to a variable with SUM, the variable counts the
part of each replica N times. The finder recognises a result by its digest, and needs no oracle. If
the rules of `scaling.py` were tried on the variable, they report it, and use the line that this
finder has found.

Not reported:
- Results of a MEAN: a mean that all replicas add has the right ratio to a count of the replicas.
- Several such variables: both the total and the count may be N times too large, and only their
  quotient is used. There is a note.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from varsim.analysis.arithmetic import Flat, value_of
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.gathered_rows import GatheredRows
from varsim.analysis.findings.model import (
    Evidence,
    Finding,
    FindingKind,
    SelectiveFinder,
    finding_of,
    most,
)
from varsim.analysis.findings.scaling_messages import WRONG_FACTOR, sum_once
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.outcome import Note
from varsim.extension_dtypes import kind_of
from varsim.texts.facts import times
from varsim.tracing.history import Event

SUMMED_AGAIN: Final = FindingKind(name=WRONG_FACTOR.name, about_values=True)
"""The kind of the same name that needs a comparison with a single device is another one."""

_LEAST: Final = 2
"""Least number of calls in which all replicas write a result that was summed.

One call is enough for values that are not equal by chance: fractions, and arrays of numbers.
"""


class _Write(NamedTuple):
    """A write of the result of an all_reduce."""

    event: Event
    arrival: Event  # of the same replica at the all_reduce


@dataclass(slots=True)
class _Again:
    """The writes of summed values to one variable."""

    writes: dict[int, _Write] = field(default_factory=dict)  # by replica, in the running call
    others: bool = False  # whether some replica has also written another value
    calls: int = 0
    telling: bool = False  # whether a value is equal to a sum, and not by chance
    evidence: Evidence = field(default_factory=Evidence)
    location: str = ""  # the location of the first all_reduce


class SummedAgain(SelectiveFinder):
    """Finds variables with SUM to which all replicas write the result of an all_reduce."""

    kinds = (SUMMED_AGAIN,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._found: defaultdict[int, _Again] = defaultdict(_Again)
        self._gathered = GatheredRows()

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether the values that replicas write are summed."""
        return facts.aggregation == "SUM" and (facts.merged or facts.gathered or facts.deferred)

    def on_begin(self, event: Event) -> None:
        """Record that a replica begins a call."""
        self._gathered.begin(event.process)

    def on_answer_by_program(self, event: Event) -> None:  # noqa: ARG002  # the context has it
        """Record that the program answers a collective."""
        self._gathered.answer(self.context.collectives.answered)

    def on_result(self, event: Event) -> None:
        """Record what a replica gets."""
        self._gathered.result(event)

    def on_write_by_replica(self, event: Event) -> None:
        """Record whether a replica writes a sum that it got in this call."""
        variable = event.variable
        if variable is None:
            return
        result = self.context.collectives.result_of(event)
        arrival = result[1] if result is not None and result[0] == "SUM" else None
        if arrival is None:
            arrival = self._gathered.sum_in(event, self._variables[variable])
        if arrival is not None:
            if self._is_not_zero(event):
                self._found[variable].writes.setdefault(event.process, _Write(event, arrival))
        elif variable in self._found:
            self._found[variable].others = True

    def on_finish(self, event: Event) -> None:
        """Count the variables to which all replicas of the call wrote a sum."""
        present = self.present(event.call)
        for number, one in self._found.items():
            if len(one.writes) == len(present):
                self._count(number, one)
            elif one.writes:
                one.others = True  # one replica alone may write the sum
            one.writes.clear()

    def finish(self) -> list[Finding]:
        """Return one finding for the variable that sums values again, if it is only one."""
        found = self._unjudged()
        return [_finding(*one, self.num_replicas) for one in found] if len(found) == 1 else []

    def notes(self) -> list[Note]:
        """Return a note if several variables sum values again."""
        found = self._unjudged()
        if len(found) < 2:
            return []
        names = " and ".join(facts.name for facts, _ in found)
        return [
            Note(
                text=f"whether {names} are used only as a quotient: each sums values that an "
                f"all_reduce had already summed (the first at {found[0][1].location}), so each is "
                f"{self.num_replicas} times too large",
                option="" if self.context.comparisons else "--oracle",
            )
        ]

    def _value(self, event: Event) -> Flat | None:
        assert event.variable is not None
        return value_of(event, self._variables[event.variable].numpy_dtype)

    def _is_not_zero(self, event: Event) -> bool:
        value = self._value(event)
        return value is None or bool(value.any())

    def _count(self, number: int, one: _Again) -> None:
        one.calls += 1
        if one.calls == 1:
            value = self._value(next(iter(one.writes.values())).event)
            one.telling = value is not None and _is_telling(value)
        last = max(one.writes.values(), key=lambda write: write.event.event)
        others = (write.arrival.event for write in one.writes.values())
        one.evidence.add(last.event, *others)
        one.location = one.location or last.arrival.location or ""
        if one.location:
            self.context.summed_before[number] = one.location

    def _unjudged(self) -> list[tuple[VariableFacts, _Again]]:
        """Return the variables that sum values again, and that `scaling.py` has not compared."""
        comparisons = self.context.comparisons
        judged = set() if comparisons is None else comparisons.judged
        return [
            (self._variables[number], one)
            for number, one in sorted(self._found.items())
            if (one.calls >= _LEAST or one.telling) and not one.others and number not in judged
        ]


def _is_telling(value: Flat) -> bool:
    """Return whether a value is hardly equal to another one by chance."""
    fractional = kind_of(value.dtype) == "f" and bool((value != np.round(value)).any())
    return fractional or len(np.unique(value[value != 0])) > 1


def _finding(facts: VariableFacts, again: _Again, num_replicas: int) -> Finding:
    what, remedy = sum_once(again.location, num_replicas)
    found = finding_of(
        SUMMED_AGAIN,
        facts,
        again.evidence,
        f"{what} This was so in {times(again.calls, 'call')}.",
        remedy,
    )
    return replace(found, locations=(*found.locations, *most({again.location: again.calls})))
