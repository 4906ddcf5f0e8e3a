"""Divergence: the program takes one component as the variable's value, but others differ.

This happens if the program reads a mirrored variable whose components have diverged, or reads only
one component of a variable. A program that reads several components compares these components. It
does not take one of them as the value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

from varsim.analysis.findings.components import Copies
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    MOST_LOCATIONS,
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
    milliseconds,
    most,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.texts.facts import times
from varsim.texts.program_lines import in_program
from varsim.tracing.history import PROGRAM, Event

DIVERGENCE: Final = FindingKind(
    name="divergence", certainty=Certainty.PATTERN, about_values=True, mended_by_settings=True
)

_MOST_SIGHTINGS: Final = 1000
"""Largest number of counted reads of one component between two changes of the variable."""


@dataclass(slots=True)
class _Look:
    """The components that the program has read since the variable last changed."""

    replicas: set[int] = field(default_factory=set)
    sightings: list[tuple[Event, Event]] = field(default_factory=list)  # (read, diverging write)
    differing: int = 0  # number of components that differed from the read component


@dataclass(slots=True)
class _DivergedReads:
    """The reads that took one component of a variable as the value of all."""

    evidence: Evidence = field(default_factory=Evidence)
    diverged: Counter[str] = field(default_factory=Counter)  # locations of the diverging writes
    shown: int = 0  # the component that was taken as the value
    differing: int = 0  # the largest number of components that differed from that component
    longest_s: float = 0.0  # the longest time from a divergence to a read
    synced: bool = False  # whether the program or the replicas ever synchronised the variable
    first: Event | None = None  # the first diverging write


class Divergence(Finder):
    """Finds reads of one component as the value of all."""

    kinds = (DIVERGENCE,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables, self._components = context.variables, context.components
        self._looks: dict[int, _Look] = {}
        self._troubles: dict[int, _DivergedReads] = {}
        self._synced: set[int] = set()  # variables that were synchronised by hand
        self._writers: defaultdict[int, set[int]] = defaultdict(set)
        """Variable → the replicas whose components were written alone."""

    def concerns(self, variable: int | None) -> bool:
        """Return True for variables of the history and for events without a variable."""
        return variable in self._variables

    def on_read_by_program(self, event: Event) -> None:
        """Store a read by the program."""
        if event.variable is not None and event.location is not None:
            self._look(event, event.variable, self._components[event.variable])

    def on_write(self, event: Event) -> None:
        """Judge the program's reads since the last change."""
        if event.variable is None:
            return
        if event.variable in self._looks:
            self._judge(event.variable)
        writer = event.replica if event.process == PROGRAM else event.process
        if writer is not None:
            self._writers[event.variable].add(writer)

    def on_commit(self, event: Event) -> None:
        """Judge the program's reads since the last change."""
        self.on_write(event)

    def on_sync(self, event: Event) -> None:
        """Record that the variable is synchronised by hand."""
        if event.variable is not None:
            self._synced.add(event.variable)

    def on_forget(self, event: Event) -> None:
        """Judge the program's reads since the last change."""
        self.on_write(event)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable of which one component was taken as the value."""
        for variable in list(self._looks):
            self._judge(variable)
        for variable, trouble in self._troubles.items():
            trouble.synced = variable in self._synced
        return [_finding(self._variables[n], one) for n, one in sorted(self._troubles.items())]

    def _look(self, event: Event, variable: int, copies: Copies) -> None:
        differ, diverged = copies.differ, copies.diverged
        if event.replica is None:
            if self._variables[variable].mirrored and differ and diverged is not None:
                differing = len(copies.differing_from(0))
                self._sight(variable, 0, event, diverged, differing)
            return
        look = self._looks.setdefault(variable, _Look())
        look.replicas.add(event.replica)
        if differ and diverged is not None and len(look.sightings) < _MOST_SIGHTINGS:
            look.sightings.append((event, diverged))
            look.differing = len(copies.differing_from(event.replica))

    def _judge(self, variable: int) -> None:
        look = self._looks.pop(variable)
        if len(look.replicas) == 1:
            (shown,) = look.replicas
            if self._variables[variable].own and self._writers[variable] == {shown}:
                return  # the variable is that of one replica
            for read, diverged in look.sightings:
                self._sight(variable, shown, read, diverged, look.differing)

    def _sight(
        self, variable: int, shown: int, read: Event, diverged: Event, differing: int
    ) -> None:
        trouble = self._troubles.setdefault(variable, _DivergedReads())
        self.context.taken_as_one.add(variable)
        trouble.evidence.add(read, diverged.event)
        trouble.shown = shown
        trouble.differing = max(trouble.differing, differing)
        trouble.longest_s = max(trouble.longest_s, read.time_s - diverged.time_s)
        trouble.first = trouble.first or diverged
        if diverged.location is not None:
            trouble.diverged[diverged.location] += 1


def _finding(facts: VariableFacts, trouble: _DivergedReads) -> Finding:
    what = _what(trouble)
    if facts.own and not trouble.synced:
        what += " Nothing ever synchronised them: with NONE, this is the duty of the program."
    if facts.mirrored and facts.aggregation:
        found = finding_of(
            DIVERGENCE,
            facts,
            trouble.evidence,
            what,
            _ONE_VALUE,
            paste=_one_value(facts, trouble.first),
            mended_by_settings=False,
        )
    else:
        other_read = facts.gathered or facts.copy
        found = finding_of(
            DIVERGENCE,
            facts,
            trouble.evidence,
            what,
            _remedy(facts),
            mended_by_settings=not other_read,
        )
    if facts.gathered or facts.copy or not trouble.diverged:
        return found  # the read is wrong
    return replace(found, locations=_write_first(trouble, found))


def _write_first(trouble: _DivergedReads, found: Finding) -> tuple[tuple[str, int], ...]:
    """Return the locations of a finding, after that of the writes that made components differ."""
    (write,) = most(trouble.diverged)[:1]
    return (write, *(one for one in found.locations if one[0] != write[0]))[:MOST_LOCATIONS]


def _one_value(facts: VariableFacts, diverging: Event | None) -> tuple[str, str]:
    """Return lines that write one value to all components, by the same operation."""
    operation = "assign" if diverging is None else diverging.operation or "assign"
    changes = operation in {"assign_add", "assign_sub"}
    op = "SUM" if changes and facts.aggregation == "SUM" else "MEAN"
    name = in_program(facts.name)
    return (
        f'value = strategy.reduce("{op}", values, axis=None)  # values: one for each replica',
        f"{name}.{operation if changes else 'assign'}(value)",
    )


_ONE_VALUE: Final = (
    "The aggregation combines only what replicas write; here the program gave each component "
    "another value. Compute or draw one value in the program, and write it to the variable. If the "
    "value differs between replicas, as an accumulator that is the argument of extended.update, "
    "reduce it first (strategy.reduce)."
)
"""The remedy if the program writes different values to the components of an aggregated variable."""


def _what(trouble: _DivergedReads) -> str:
    others = f"{times(trouble.differing, 'other component')}" if trouble.differing else "others"
    said = (
        f"{times(trouble.evidence.count, 'read')} by the program took replica {trouble.shown}'s "
        f"component as the value of all, while {others} held other values"
    )
    first = trouble.first
    if first is None:
        return f"{said}."
    by = "the program wrote one component"
    if first.process != PROGRAM:
        by = f"replica {first.process} wrote its own component"
    at = "".join(f" at {location}" for location, _ in most(trouble.diverged)[:1])
    return (
        f"{said}. The components diverged {first.time_s:.3f} s after the start of the run, when "
        f"{by}{at}. The longest time from a divergence to such a read was "
        f"{milliseconds(trouble.longest_s)}."
    )


def _remedy(facts: VariableFacts) -> str:
    if facts.gathered:
        return (
            "Read the variable itself outside strategy.run: this gives the aggregate of all "
            "components. Or compare the components."
        )
    if facts.copy:
        return (
            "Read the variable itself outside strategy.run: this gives the copy that its policy "
            "keeps. Or compare the components."
        )
    if facts.mirrored:
        return (
            "Give the variable an aggregation (MEAN, SUM or ONLY_FIRST_REPLICA), so that writes in "
            "replicas are combined; or write one value outside strategy.run."
        )
    if not facts.manual:
        return (
            "Combine the components (strategy.reduce), or use one of them only after its policy "
            "has made them equal, or choose ON_WRITE or ON_READ with an aggregation."
        )
    return (
        "Synchronise the components before you use one of them (v.sync('MEAN') or v.broadcast()), "
        "or combine them (strategy.reduce), or choose ON_WRITE or ON_READ with an aggregation; "
        "NONE is right for values that concern one replica only."
    )
