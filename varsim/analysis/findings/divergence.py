"""Divergence: the program takes one component for the variable's value while others differ.

It does if it reads a mirrored variable whose components have parted, or one component alone of any
variable. Who looks at several components compares them, and takes none of them for the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.components import Components
from varsim.analysis.findings.copies import Copies
from varsim.analysis.findings.found import (
    Evidence,
    Finder,
    Finding,
    Kind,
    milliseconds,
    most,
    times,
)
from varsim.analysis.findings.subject import Subject
from varsim.tracing.history import PROGRAM, Event


@dataclass(slots=True)
class _Look:
    """The components that the program has read since the variable last changed."""

    replicas: set[int] = field(default_factory=set)
    sightings: list[tuple[Event, Event]] = field(default_factory=list)  # read, and what parted
    differing: int = 0


_MOST_SIGHTINGS: Final = 1000
"""Of one component between two changes; a program that looks more often is counted lower."""


@dataclass(slots=True)
class _Trouble:
    evidence: Evidence = field(default_factory=Evidence)
    parted: Counter[str] = field(default_factory=Counter)  # where they parted
    shown: int = 0  # the component that was taken for the truth
    differing: int = 0  # the most components that differed from it
    longest_s: float = 0.0  # the longest time since they had parted
    first: Event | None = None  # the first event by which they parted


class Divergence(Finder):
    """Finds reads of one component as the truth."""

    def __init__(self, variables: Mapping[int, Subject], components: Components) -> None:
        self._variables = variables
        self._components = components
        self._looks: dict[int, _Look] = {}
        self._troubles: dict[int, _Trouble] = {}

    def concerns(self, variable: int | None) -> bool:
        """All that the history tells of."""
        return variable in self._variables

    def on_read_by_program(self, event: Event) -> None:
        """Notes what the program sees."""
        if event.variable is not None and event.place is not None:
            self._look(event, event.variable, self._components[event.variable])

    def on_write(self, event: Event) -> None:
        """Judges what the program saw: the variable changes."""
        if event.variable is not None and event.variable in self._looks:
            self._judge(event.variable)

    def on_commit(self, event: Event) -> None:
        """Likewise."""
        self.on_write(event)

    def on_forget(self, event: Event) -> None:
        """Likewise."""
        self.on_write(event)

    def taken_as_one(self, variable: int) -> bool:
        """Whether the program read one component as the value of all, while others differed."""
        return variable in self._troubles

    def finish(self) -> list[Finding]:
        """One finding for each variable of which the program took one component for the truth."""
        for variable in list(self._looks):
            self._judge(variable)
        return [self._finding(number, one) for number, one in sorted(self._troubles.items())]

    def _look(self, event: Event, variable: int, copies: Copies) -> None:
        apart, parted = copies.apart, copies.parted
        if event.replica is None:
            if self._variables[variable].mirrored and apart and parted is not None:
                differing = len(copies.differing_from(0))
                self._sight(variable, 0, event, parted, differing)
            return
        look = self._looks.setdefault(variable, _Look())
        look.replicas.add(event.replica)
        if apart and parted is not None and len(look.sightings) < _MOST_SIGHTINGS:
            look.sightings.append((event, parted))
            look.differing = len(copies.differing_from(event.replica))

    def _judge(self, variable: int) -> None:
        look = self._looks.pop(variable)
        if len(look.replicas) == 1:
            (shown,) = look.replicas
            for read, parted in look.sightings:
                self._sight(variable, shown, read, parted, look.differing)

    def _sight(self, variable: int, shown: int, read: Event, parted: Event, differing: int) -> None:
        trouble = self._troubles.setdefault(variable, _Trouble())
        trouble.evidence.add(read, parted.event)
        trouble.shown = shown
        trouble.differing = max(trouble.differing, differing)
        trouble.longest_s = max(trouble.longest_s, read.time_s - parted.time_s)
        trouble.first = trouble.first or parted
        if parted.place is not None:
            trouble.parted[parted.place] += 1

    def _finding(self, variable: int, trouble: _Trouble) -> Finding:
        subject = self._variables[variable]
        return Finding(
            kind=Kind.DIVERGENCE,
            variable_id=variable,
            variable=subject.name,
            places=trouble.evidence.most_places(),
            count=trouble.evidence.count,
            what=_what(trouble),
            remedy=_remedy(subject),
            events=tuple(trouble.evidence.events),
        )


def _what(trouble: _Trouble) -> str:
    others = f"{times(trouble.differing, 'other component')}" if trouble.differing else "others"
    said = (
        f"{times(trouble.evidence.count, 'read')} by the program took replica {trouble.shown}'s "
        f"component for the value of all, while {others} held something else"
    )
    first = trouble.first
    if first is None:
        return f"{said}."
    by = "the program" if first.process == PROGRAM else f"replica {first.process}"
    at = "".join(f", at {place}" for place, _ in most(trouble.parted)[:1])
    since = f"they parted {first.time_s:.3f} s into the run, when {by} wrote its own copy{at}"
    if first.process == PROGRAM:
        since = f"they parted {first.time_s:.3f} s into the run, when the program wrote one{at}"
    return f"{said}: {since}; up to {milliseconds(trouble.longest_s)} before such a read."


def _remedy(subject: Subject) -> str:
    if subject.gathered:
        return (
            "Read the variable itself: outside the replicas that gives the aggregate of all "
            "components; or compare the components."
        )
    if subject.mirrored:
        return (
            "Give it an aggregation (MEAN, SUM or ONLY_FIRST_REPLICA), so that a write in a "
            "replica is agreed on; or let all replicas write the same."
        )
    return (
        "Combine the components before you use them (strategy.reduce), or choose ON_WRITE or "
        "ON_READ with an aggregation; NONE is right for what is a replica's own."
    )
