"""Variables whose copies are trained separately: they differ, and nothing combines them.

Each replica reads its copy and then writes it in the same call. This may be meant: a random
generator of each replica, or copies that the program averages one time at the end. So there is a
note, and no finding.

There is a finding if the program combines the copies of another variable with the same settings
again and again, as local SGD does: then the program has skipped this variable. If the settings have
no aggregation, the copies may be meant to stay apart, so there is a finding only if the program
reads them.

Copies count as combined, and cause no note, in any of these cases:
- Between two steps, the program reads the variable or its copies, or assigns them a value. A policy
  may also assign such a value.
- The program or the replicas synchronise them (v.sync, v.broadcast).
- A replica writes its copy after a collective or a one-sided read that followed its read, or
  assigns a value without a read in this call: the value may come from other replicas.

Copies of a sum are parts of one value. They may differ, and cause no note.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import Cause, Evidence, Finding, SelectiveFinder, finding_of
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.outcome import Note
from varsim.texts.facts import times
from varsim.tracing.history import Event

_LEAST_STEPS: Final = 3
"""Least number of steps in which all replicas read and then wrote a variable."""

_LEAST_COMBINATIONS: Final = 2
"""Least number of times that the copies of another variable are combined."""

_MOST_NAMES: Final = 3  # number of variables that a note names


@dataclass(slots=True)
class _Copies:
    """How the replicas use their copies of one variable."""

    readers: set[int] = field(default_factory=set)  # replicas that read in this call
    heard: set[int] = field(default_factory=set)  # readers with a collective after their read
    trainers: set[int] = field(default_factory=set)  # replicas that wrote after a read in this call
    steps: int = 0  # steps in which all replicas read and then wrote
    differing: int = 0  # number of these steps after which the copies differed
    used: bool = False  # whether the program has read or assigned them since the last write
    combined: bool = False
    combinations: int = 0  # number of times that the copies became equal after they differed
    apart: bool = False  # whether the copies differed after the last call
    shown: bool = False  # whether the program has read them at a line of its own
    parted: Event | None = None  # the first write that made them differ

    @property
    def trained(self) -> bool:
        """Return whether each replica has trained its copy in enough steps."""
        return self.steps >= _LEAST_STEPS

    def end_call(self) -> None:
        """Forget what the replicas did in the call."""
        self.readers.clear()
        self.heard.clear()
        self.trainers.clear()

    def __str__(self) -> str:
        """Return the facts as a clause."""
        until = "were not combined before the last of these steps"
        return (
            f"the components differed after {self.differing:,} of {times(self.steps, 'step')} in "
            f"which each replica read and then wrote its own component, and "
            f"{until if self.used else 'were never combined'}"
        )


class SeparateCopies(SelectiveFinder):
    """Finds variables that are skipped when components are combined, and notes separate ones."""

    kinds = (DIVERGENCE,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._copies: defaultdict[int, _Copies] = defaultdict(_Copies)

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether each replica has its own copy of the variable."""
        return facts.has_own_values

    def on_read_by_replica(self, event: Event) -> None:
        """Record that the replica knows its copy."""
        if event.variable is not None:
            copies = self._copies[event.variable]
            copies.readers.add(event.process)
            copies.heard.discard(event.process)

    def on_arrive(self, event: Event) -> None:
        """Record a collective; what the replica writes next may come from other replicas."""
        if event.variable is None:
            for copies in self._copies.values():
                if event.process in copies.readers:
                    copies.heard.add(event.process)

    def on_obtain_by_replica(self, event: Event) -> None:
        """Record a one-sided read; what the replica writes next may come from other replicas."""
        for copies in self._copies.values():
            if event.process in copies.readers:
                copies.heard.add(event.process)

    def on_sync(self, event: Event) -> None:
        """Record that the copies get one value."""
        if event.variable is not None:
            self._copies[event.variable].combined = True
            self._unite(event.variable)

    def on_write_by_replica(self, event: Event) -> None:
        """Record whether the replica writes what follows from its own copy."""
        if event.variable is None:
            return
        copies, writer = self._copies[event.variable], event.process
        has_read = writer in copies.readers
        between = copies.used and copies.steps > 0
        from_elsewhere = event.operation == "assign" and not has_read
        copies.combined |= between or from_elsewhere or writer in copies.heard
        if has_read:
            copies.trainers.add(writer)
        copies.used = False

    def on_commit(self, event: Event) -> None:
        """Record that the copies got a value from outside their replicas."""
        if event.variable is not None:
            self._copies[event.variable].used = True
            self._unite(event.variable)

    def on_read_by_program(self, event: Event) -> None:
        """Record that the program knows the copies. varsim's own reads have no location."""
        if event.variable is not None and event.location is not None:
            self._copies[event.variable].used = True
            self._copies[event.variable].shown = True

    def on_finish(self, event: Event) -> None:
        """Count the step for each variable that all replicas read and then wrote."""
        present = len(self.present(event.call))
        for number, copies in self._copies.items():
            if len(copies.trainers) == present:
                copies.steps += 1
                copies.differing += self.context.components[number].differ
            self._unite(number)
            if self.context.components[number].differ:
                copies.apart = True
                copies.parted = copies.parted or self.context.components[number].diverged
            copies.end_call()

    def _unite(self, number: int) -> None:
        """Count that copies are equal again."""
        copies = self._copies[number]
        if copies.apart and self.context.components[number].same:
            copies.apart = False
            copies.combinations += 1

    def finish(self) -> list[Finding]:
        """Return one finding for each variable that is skipped when others are combined.

        What the program never reads, such as a momentum, follows from a variable that it reads and
        that is skipped with it: the same averaging skips both.
        """
        skipped = self._twins()
        leads = {
            tuple(twins): number
            for number, twins in reversed(skipped.items())
            if self._shown(number)
        }
        findings = []
        for number, twins in skipped.items():
            facts, lead = self._variables[number], leads.get(tuple(twins))
            with_it = [
                self._variables[other].name
                for other, others in skipped.items()
                if number == lead and others == twins and not self._shown(other)
            ]
            finding = _skipped(facts, self._copies[number], twins, with_it)
            if lead is not None and not self._shown(number):
                cause = Cause(DIVERGENCE, lead, self._variables[lead].name)
                finding = replace(finding, cause=cause)
            findings.append(finding)
        return findings

    def _shown(self, number: int) -> bool:
        """Return whether the program has read a variable."""
        return self._copies[number].shown

    def _twins(self) -> dict[int, list[str]]:
        """Return the skipped variables, with the names of those that the program combines."""
        found = {}
        for number in self.facts():
            facts, copies = self._variables[number], self._copies[number]
            if copies.combinations or number in self.context.taken_as_one:
                continue
            if not (facts.gathered or copies.shown):
                continue
            twins = [
                other.name
                for other in self._variables.values()
                if self._copies[other.variable_id].combinations >= _LEAST_COMBINATIONS
                and self._copies[other.variable_id].trained
                and (other.synchronization, other.aggregation, other.dtype)
                == (facts.synchronization, facts.aggregation, facts.dtype)
            ]
            if twins:
                found[number] = twins
        return found

    def facts(self) -> dict[int, str]:
        """Return, for each variable with separate copies, the facts as a clause."""
        return {
            number: str(copies)
            for number, copies in sorted(self._copies.items())
            if copies.trained and copies.differing and not copies.combined
        }

    def notes(self) -> list[Note]:
        """Return one note for all variables with the same facts."""
        alike: defaultdict[str, list[str]] = defaultdict(list)
        skipped = self._twins()
        for number, facts in self.facts().items():
            if number not in skipped:
                alike[facts].append(self._variables[number].name)
        return [
            Note(text=f"whether {_which(names)} to be trained separately on each replica: {facts}")
            for facts, names in alike.items()
        ]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _which(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} is"
    left = len(names) - _MOST_NAMES
    *first, last = [*names[:_MOST_NAMES], f"{left} more"] if left > 0 else names
    return f"{', '.join(first)} and {last} are"


def _skipped(
    facts: VariableFacts, copies: _Copies, twins: Sequence[str], with_it: Sequence[str]
) -> Finding:
    """Return the finding about a skipped variable.

    Args:
        twins: The names of the variables that are combined.
        with_it: The names of other variables that are skipped, and that the program never reads.
    """
    evidence = Evidence()
    if copies.parted is not None:
        evidence.add(copies.parted, count=copies.differing)
    named, also = _listed(twins), f" It also skips {_listed(with_it)}." if with_it else ""
    finding = finding_of(
        DIVERGENCE,
        facts,
        evidence,
        f"{copies}. With the same settings, the components of {named} became equal again and "
        f"again: the averaging skips {facts.name}.{also}",
        f"Average {facts.name}, too, where you average {twins[0]}. If each replica should keep its "
        "own component, choose NONE, and do not use the component of one replica as the value.",
        mended_by_settings=False,
    )
    return replace(finding, own_cause=True)
