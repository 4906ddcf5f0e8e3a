"""Follow whether each replica decides for itself how it writes a variable that it owns.

There are two signs. In some calls only some replicas assign, or replicas assign at different lines,
and these groups change: with a fixed group, or if the replicas take turns, the program has chosen
the writers. (A replica that does not add may just have nothing to add.) Or replicas multiply the
value that they have read by one of a few factors, and not all by the same factor, as a dynamic loss
scale does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver
from varsim.analysis.presence import Presence
from varsim.spec import Rows
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import Event

_MOST_GROUPS: Final = 8
"""Largest number of kept groups of writers."""

_MOST_FACTORS: Final = 3
"""Largest number of factors among which replicas choose."""

_LEAST_CHOICES: Final = 8
"""Least number of writes in which a few factors are no chance."""

_LEAST_CALLS: Final = 2
"""Least number of calls in which replicas must have decided differently."""

_Lines = tuple[str, ...]
"""The lines at which a replica wrote a variable in one call, in order."""


@dataclass(slots=True)
class _Choices:
    """How replicas wrote one variable."""

    now: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Replica → the lines of its writes in this call."""
    groups: set[tuple[_Lines, ...]] = field(default_factory=set)
    """For each replica its lines, of calls in which they were not the same."""
    shapes: set[tuple[_Lines, ...]] = field(default_factory=set)
    """Lines of all calls with writes, without the replicas that they belong to."""
    calls: int = 0  # number of calls in which the replicas' lines were not the same
    first: str = ""  # the first such call, as a text
    read: dict[int, float] = field(default_factory=dict)  # replica → what it has read in this call
    factors: set[float] | None = field(default_factory=set)  # None if they are too many
    factors_now: set[float] = field(default_factory=set)
    choices: int = 0  # number of writes of a multiple of what was read
    calls_apart: int = 0  # number of calls in which the factors were not the same
    adds: bool = False  # whether a write was no assign

    def finish_call(self, step: int, present: range) -> None:
        """Judge the writes of a call."""
        if self.now:
            lines = tuple(tuple(self.now.get(replica_id, ())) for replica_id in present)
            if len(self.shapes) < _MOST_GROUPS:
                self.shapes.add(tuple(sorted(lines)))
            if len(set(lines)) > 1:
                self.calls += 1
                self.first = self.first or _group(step, lines)
                if len(self.groups) < _MOST_GROUPS:
                    self.groups.add(lines)
            self.calls_apart += len(self.factors_now) > 1
        self.now.clear()
        self.read.clear()
        self.factors_now.clear()

    def add_factor(self, old: float | None, new: float | None) -> None:
        """Add a write of a value after a read; a write without a factor ends the search for it."""
        if self.factors is None or not old or new is None:
            self.factors = None
            return
        factor = float(f"{new / old:.5g}")
        self.choices += 1
        self.factors_now.add(factor)
        self.factors.add(factor)
        if len(self.factors) > _MOST_FACTORS:
            self.factors = None

    def said(self, name: str) -> str:
        """Return a sentence on the decisions; "" if the replicas do not decide for themselves.

        Args:
            name: The name of the variable.
        """
        if len(self.groups) > 1 and len(self.shapes) > 1 and not self.adds:
            return (
                f"In {times(self.calls, 'call')} the replicas did not write {name} alike "
                f"({self.first}): each replica decided for itself."
            )
        factors = self.factors or ()
        if len(factors) > 1 and self.calls_apart >= _LEAST_CALLS and self.choices >= _LEAST_CHOICES:
            shown = " or ".join(f"{one:g}" for one in sorted(factors))
            return (
                f"The replicas multiplied the value by {shown}, and in "
                f"{times(self.calls_apart, 'call')} not all by the same factor: each replica "
                "decided for itself."
            )
        return ""


class Decisions(EventObserver):
    """Follows the writes of replicas to variables whose components they own."""

    def __init__(self, presence: Presence, variables: Mapping[int, VariableFacts]) -> None:
        self._presence = presence
        self._variables = {
            number: one
            for number, one in variables.items()
            if not (one.merged or one.deferred or one.summed or one.one_copy or one.local_reads)
        }
        self._choices: defaultdict[int, _Choices] = defaultdict(_Choices)
        self._step = 0

    def concerns(self, variable: int | None) -> bool:
        """Return whether a write in a replica changes only its own component, which is no part."""
        return variable is None or variable in self._variables

    def on_call(self, event: Event) -> None:
        """Count the steps."""
        self._step += event.begins_step

    def on_finish(self, event: Event) -> None:
        """Judge the writes of a call."""
        for one in self._choices.values():
            one.finish_call(self._step, self._presence.of(event.call))

    def on_read_by_replica(self, event: Event) -> None:
        """Store the number that a replica reads."""
        if event.variable is not None:
            facts, choices = self._variables[event.variable], self._choices[event.variable]
            if _is_number(facts) and choices.factors is not None:
                value = facts.elements_of(event)
                if value is not None:
                    choices.read[event.process] = float(value[0])

    def on_write_by_replica(self, event: Event) -> None:
        """Store the line of a write, and by what it multiplies the value."""
        if event.variable is None or event.position is not None:
            return
        facts, choices = self._variables[event.variable], self._choices[event.variable]
        choices.now[event.process].append(event.location or "")
        choices.adds |= event.operation != "assign"
        if choices.factors is None:
            return
        value = facts.operand_of(event) if _is_number(facts) and not choices.adds else None
        new = None if value is None or isinstance(value, Rows) else float(value[0])
        choices.add_factor(choices.read.pop(event.process, None), new)

    def of(self, variable: int | None) -> str:
        """Return a sentence on how replicas decided about a variable; "" if they did not."""
        known = None if variable is None else self._choices.get(variable)
        return "" if known is None else known.said(self._variables[variable or 0].name)


def _is_number(facts: VariableFacts) -> bool:
    return facts.shape == () and facts.numpy_dtype.kind in "iuf"


def _group(step: int, lines: tuple[_Lines, ...]) -> str:
    """Return which replicas wrote in a step, as a text."""
    wrote = [replica_id for replica_id, one in enumerate(lines) if one]
    if len(wrote) == len(lines):
        return f"in step {step}, they wrote it at different lines"
    return f"in step {step}, only {name_replicas(wrote)} wrote it"
