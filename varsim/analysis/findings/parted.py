"""Components that part, although the program treats them as one value, whoever reads them.

Each replica has its own component under NONE, under ON_WRITE without an aggregation, and under
ON_READ until the program reads. Such components may differ on purpose. Two patterns show that they
should be equal:

- *The value was not reduced.* One line writes several variables with the same settings, in each
  call after a collective. The components of one variable are always equal afterwards, so its value
  comes from the collective. Those of the other variable part: its value was left out.
- *The start was different.* The components part one time. In all later calls every replica changes
  its component by the same amount, after a collective: the replicas share their updates, but not
  the value from which they started. A broadcast is missing.

The finder looks at the components after each call. It does not use reads by the program, which are
the matter of `divergence.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, digest_of, flat
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import Evidence, Finding, SelectiveFinder, finding_of
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.rounding import close
from varsim.texts.faces import Face, reducing
from varsim.texts.facts import times
from varsim.texts.program_lines import in_program
from varsim.tracing.history import PROGRAM, Event

_LEAST_CALLS: Final = 3
"""Least number of calls that show a pattern."""

_DISTINCT: Final = 3
"""Least number of different changes: replicas may add a constant to values that differ."""

_ADDS: Final = frozenset({"assign_add", "assign_sub"})


@dataclass(slots=True)
class _Parts:
    """The components of one variable after each call in which all replicas wrote them."""

    writes: defaultdict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    """Replica → its writes in the running call."""
    informed: bool = True  # whether each write of the running call came after a collective
    before: list[bytes | None] = field(default_factory=list)  # the components before the call
    locations: set[str | None] = field(default_factory=set)  # where replicas wrote them
    equal: int = 0  # number of calls after which the components were equal
    shared: int = 0  # number of these whose writes came after a collective
    apart: int = 0  # number of calls after which they differed
    contents: set[int | None] = field(default_factory=set)  # digests of a few writes
    parted: Event | None = None  # the write that made them differ
    alike: int = 0  # number of later calls with the same change on each replica
    changes: set[object] = field(default_factory=set)  # a few different changes
    unlike: bool = False  # whether a later call had different changes
    evidence: Evidence = field(default_factory=Evidence)


class Parted(SelectiveFinder):
    """Finds components that part by a value that was not reduced, or by a different start."""

    kinds = (DIVERGENCE,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._parts: defaultdict[int, _Parts] = defaultdict(_Parts)
        self._agreed: set[int] = set()  # replicas that came to a collective in the running call

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether each replica has its own component of the variable."""
        return facts.has_own_values or facts.unmerged

    def on_call(self, event: Event) -> None:  # noqa: ARG002  # each observer gets the event
        """Keep the components as they are before the call."""
        for number in self._variables:
            self._parts[number].before = list(self.context.components[number].values)

    def on_begin(self, event: Event) -> None:
        """Record that a replica begins a call, in which it has come to no collective."""
        self._agreed.discard(event.process)

    def on_arrive(self, event: Event) -> None:
        """Record a collective: what the replica writes next may come from all replicas."""
        self._agreed.add(event.process)

    def on_write_by_replica(self, event: Event) -> None:
        """Keep a write to a component."""
        if event.variable is not None:
            one = self._parts[event.variable]
            one.writes[event.process].append(event)
            one.informed = one.informed and event.process in self._agreed

    def on_finish(self, event: Event) -> None:
        """Compare the components that all replicas wrote in the call."""
        present = self.present(event.call)
        for number, one in self._parts.items():
            if len(one.writes) == len(present) == self.num_replicas:
                self._look(number, one)
            elif one.writes:
                self._part(number, one)
            one.writes.clear()
            one.informed = True

    def finish(self) -> list[Finding]:
        """Return one finding for each variable whose components part."""
        found = []
        for number, one in sorted(self._parts.items()):
            facts = self._variables[number]
            twin = self._twin_of(facts, one)
            done = self.context.taken_as_one | self.context.conflicting
            if number in done or one.parted is None:
                continue
            if twin is not None:
                found.append(_not_reduced(facts, one, one.parted, twin, self.context.face))
            elif _started_apart(one):
                found.append(_start(facts, one, one.parted))
                self.context.started_apart.add(number)
        return found

    def _look(self, number: int, one: _Parts) -> None:
        copies = self.context.components[number]
        last = [events[-1] for events in one.writes.values()]
        one.locations.update(event.location for event in last)
        if len(one.contents) < _DISTINCT:
            one.contents.add(digest_of(last[0]))
        if not copies.differ:
            one.equal += copies.same
            one.shared += copies.same and one.informed
            one.parted, one.alike, one.unlike = None, 0, False
            one.changes.clear()
            return
        one.apart += 1
        one.evidence.add(max(last, key=lambda event: event.event))
        change = self._change(number, one)
        if one.parted is None and copies.diverged is not None:
            one.parted = copies.diverged
            if change is None or copies.diverged.process != PROGRAM:
                return
        if change is None or not one.informed:
            one.unlike = True
            return
        one.alike += 1
        if len(one.changes) < _DISTINCT:
            one.changes.add(change)

    def _part(self, number: int, one: _Parts) -> None:
        """Record that some replicas change their components: by a start of their own, or later."""
        copies = self.context.components[number]
        if one.parted is None and not one.unlike and copies.differ:
            one.parted = copies.diverged
        else:
            one.unlike = True

    def _change(self, number: int, one: _Parts) -> object:
        """Return by what each replica has changed its component; None if not all did the same."""
        added = {
            tuple((event.operation, digest_of(event)) for event in events)
            for events in one.writes.values()
        }
        if len(added) == 1 and all(how in _ADDS and what is not None for how, what in (*added,)[0]):
            return added.pop()
        dtype = self._variables[number].numpy_dtype
        changes = [
            _difference(flat(after, dtype), flat(before, dtype))
            for after, before in zip(
                self.context.components[number].values, one.before, strict=True
            )
            if after is not None and before is not None
        ]
        first = changes[0] if len(changes) == self.num_replicas else None
        if first is None or not first.any():
            return None
        alike = all(one.shape == first.shape and close(one, first) for one in changes)
        return first.tobytes() if alike else None

    def _twin_of(self, facts: VariableFacts, one: _Parts) -> VariableFacts | None:
        """Return a variable that the same line writes, and whose components stay equal."""
        if one.equal or one.apart < _LEAST_CALLS or len(one.contents) < _DISTINCT:
            return None
        for number, other in self._parts.items():
            twin = self._variables[number]
            if (
                not other.apart
                and other.shared == other.equal >= _LEAST_CALLS
                and len(other.contents) >= _DISTINCT
                and other.locations == one.locations
                and None not in one.locations
                and (twin.synchronization, twin.aggregation, twin.dtype)
                == (facts.synchronization, facts.aggregation, facts.dtype)
            ):
                return twin
        return None


def _difference(after: Flat, before: Flat) -> Flat:
    if after.dtype.kind != "f" or after.shape != before.shape:
        return np.zeros(0, np.float32)
    found: Flat = after - before
    return found


def _started_apart(one: _Parts) -> bool:
    return (
        not one.unlike
        and one.alike >= _LEAST_CALLS
        and len(one.changes) >= _DISTINCT
        and one.parted is not None
        and one.parted.operation == "assign"
    )


def _finding(
    facts: VariableFacts, one: _Parts, parted: Event, what: str, remedy: str, paste: Sequence[str]
) -> Finding:
    """Return a finding whose first location is that of the write with which they part."""
    evidence = Evidence()
    evidence.add(parted)
    evidence.merge(one.evidence)
    if parted.location is not None:
        evidence.locations[parted.location] = sum(evidence.locations.values())
    evidence.count = one.apart
    return finding_of(
        DIVERGENCE, facts, evidence, what, remedy, paste=paste, mended_by_settings=False
    )


def _not_reduced(
    facts: VariableFacts, one: _Parts, parted: Event, twin: VariableFacts, face: Face
) -> Finding:
    what = (
        f"The components of {facts.name} differed after all {times(one.apart, 'call')} that wrote "
        f"them, for the first time by the write at {parted.location}. The same line writes "
        f"{twin.name}, whose components were equal after each call: its value came from a "
        f"collective, and that of {facts.name} was left out."
    )
    remedy = (
        f"Reduce the value of {facts.name} before the write, as that of {twin.name}. If each "
        "replica should have its own value, write it at another line."
    )
    return _finding(facts, one, parted, what, remedy, reducing(face, "MEAN", "value"))


def _start(facts: VariableFacts, one: _Parts, parted: Event) -> Finding:
    what = (
        f"The components of {facts.name} got different values at {parted.location}. In the "
        f"{times(one.alike, 'later call')} every replica changed its component by the same amount, "
        "so the components kept their distance: the replicas share their updates, but not the "
        "value from which they started."
    )
    remedy = (
        "Give all replicas the value of one of them after this write, at the start and after each "
        "restore; or assign the value outside strategy.run, which writes every component."
    )
    name = in_program(facts.name)
    paste = (f"{name}.broadcast(root=0)",) if facts.manual else (f"{name}.assign(value)",)
    return _finding(facts, one, parted, what, remedy, paste)
