"""Components that only some replicas write, while all replicas read them as the same value.

For example, only replica 0 keeps a moving average, and all replicas use it. Under ON_READ and NONE,
and under ON_WRITE without an aggregation, its writes change its own component, so the other
replicas read another value. The cause is the write.

Such components may also be states of their replicas. So these programs have no finding:

- Only the writers read their components, as the first replica reads its own log.
- The others read at a line just before the writers' writes: all replicas compute the new value, and
  only some keep it.
- The components belong to their replicas (NONE), and the writes follow no rule: they may depend on
  what a replica has computed. One writer that writes one time, first of all, or at regular
  intervals follows a rule.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import (
    MOST_LOCATIONS,
    Evidence,
    Finding,
    SelectiveFinder,
    finding_of,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.texts.facts import name_replicas, times
from varsim.texts.program_lines import lines_that_write_outside
from varsim.tracing.history import Event

_LEAST_CALLS: Final = 2
"""Least number of calls in which the other replicas read at a line."""

_LEAST_WRITES: Final = 3
"""Least number of calls whose intervals show a rule."""


@dataclass(slots=True)
class _Reads:
    """The reads at one line by replicas whose components lack the writes."""

    evidence: Evidence = field(default_factory=Evidence)
    readers: set[int] = field(default_factory=set)
    calls: set[int | None] = field(default_factory=set)


@dataclass(slots=True)
class _Use:
    """How the replicas use the components of one variable."""

    writes: Evidence = field(default_factory=Evidence)
    writers: set[int] = field(default_factory=set)
    turns: list[int] = field(default_factory=list)  # the numbers of the calls with a write
    assigned: bool = True  # whether all writes are assigns
    last: dict[int, Event] = field(default_factory=dict)  # replica → its last write
    read_at: dict[int, str | None] = field(default_factory=dict)
    """Replica → the line of its last read in the running call."""
    before_writes: set[str | None] = field(default_factory=set)  # lines of reads before writes
    reads: defaultdict[str, _Reads] = field(default_factory=lambda: defaultdict(_Reads))
    combined: bool = False  # whether the program or the replicas ever gave components values


class OneTruth(SelectiveFinder):
    """Finds variables that only some replicas write, and whose other components are read, too.

    It uses the results of `Conflicts` and `Divergence`.
    """

    kinds = (DIVERGENCE,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._uses: defaultdict[int, _Use] = defaultdict(_Use)
        self._turns: defaultdict[str | None, int] = defaultdict(int)
        """The line of `strategy.run` → the number of its calls so far."""
        self._turn = 0

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether a write in a replica changes only its own component."""
        return facts.own or facts.unmerged or (facts.gathered and facts.first)

    def on_call(self, event: Event) -> None:
        """Count the calls of each line."""
        self._turns[event.location] += 1
        self._turn = self._turns[event.location]

    def on_begin(self, event: Event) -> None:
        """Forget what the replica read in its last call."""
        for use in self._uses.values():
            use.read_at.pop(event.process, None)

    def on_sync(self, event: Event) -> None:
        """Record that the components get one value."""
        if event.variable is not None:
            self._uses[event.variable].combined = True

    def on_commit(self, event: Event) -> None:
        """Record that the program writes a single component, so that each has its own value."""
        if event.variable is not None and event.replica is not None:
            self._uses[event.variable].combined = True

    def on_obtain_by_replica(self, event: Event) -> None:
        """Record that replicas read components of others."""
        self.on_sync(event)

    def on_write_by_replica(self, event: Event) -> None:
        """Record a write to a component."""
        if event.variable is None or event.position is not None:
            return
        use, writer = self._uses[event.variable], event.process
        use.writes.add(event)
        use.writers.add(writer)
        use.last[writer] = event
        use.assigned = use.assigned and event.operation == "assign"
        if not use.turns or use.turns[-1] != self._turn:
            use.turns.append(self._turn)
        use.before_writes.add(use.read_at.pop(writer, None))

    def on_read_by_replica(self, event: Event) -> None:
        """Record a read of a component that lacks writes that its replica knows."""
        number, reader, location = event.variable, event.process, event.location
        if number is None or location is None:
            return
        use = self._uses[number]
        use.read_at[reader] = location
        if reader in use.writers or len(use.reads) > MOST_LOCATIONS:
            return
        copies, clocks = self.context.components[number], self.context.clocks
        if any(
            clocks.known(reader, writer) >= write.event and not copies.same_as(reader, writer)
            for writer, write in use.last.items()
        ):
            reads = use.reads[location]
            reads.evidence.add(event)
            reads.readers.add(reader)
            reads.calls.add(event.call)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable that is read as one truth."""
        done = self.context.conflicting | self.context.taken_as_one
        found = [
            self._finding(self._variables[number], use)
            for number, use in sorted(self._uses.items())
            if number not in done and use.writers and not use.combined
        ]
        return [one for one in found if one is not None]

    def _finding(self, facts: VariableFacts, use: _Use) -> Finding | None:
        others = set(range(self.num_replicas)) - use.writers
        reads = [
            one
            for location, one in sorted(use.reads.items())
            if location not in use.before_writes
            and others == one.readers
            and len(one.calls) >= _LEAST_CALLS
        ]
        if not others or not reads or not (facts.mirrored or facts.first or _follows_a_rule(use)):
            return None
        evidence = Evidence()
        evidence.merge(use.writes)
        for one in reads:
            evidence.merge(one.evidence)
        evidence.count = sum(one.evidence.count for one in reads)
        found = finding_of(
            DIVERGENCE, facts, evidence, _what(facts, use, reads), _REMEDY, paste=_paste(facts, use)
        )
        first = use.writes.most_locations()
        read = [one for reads in reads for one in reads.evidence.most_locations()]
        return replace(found, locations=(*first, *(one for one in read if one not in first)))


def _follows_a_rule(use: _Use) -> bool:
    """Return whether one replica writes one time, first of all, or at regular intervals."""
    if len(use.writers) != 1:
        return False
    if len(use.turns) == 1:
        return use.turns == [1] and use.writers == {0} and use.assigned
    intervals = {after - before for before, after in zip(use.turns, use.turns[1:], strict=False)}
    return len(use.turns) >= _LEAST_WRITES and len(intervals) == 1


def _what(facts: VariableFacts, use: _Use, reads: list[_Reads]) -> str:
    (written_at, _), *_ = use.writes.most_locations() or (("an unknown line", 0),)
    readers = name_replicas(sorted(reads[0].readers)).capitalize()
    settings = facts.synchronization
    aggregation = facts.aggregation or "NONE"
    return (
        f"Only {name_replicas(sorted(use.writers))} wrote {facts.name}, at {written_at} "
        f"({times(use.writes.count, 'time')}). With {settings} and {aggregation}, such a write "
        f"changes only the writer's own component. {readers} read {facts.name}, too, "
        f"{times(sum(one.evidence.count for one in reads), 'time')}, and got a component without "
        "these writes."
    )


_REMEDY: Final = (
    "Let all replicas write the variable, each time by the same value; or return the value from "
    "the function, and write it outside strategy.run, where one write changes every component. If "
    "only the writer needs it, let the other replicas not read it."
)


def _paste(facts: VariableFacts, use: _Use) -> tuple[str, str, str]:
    writer = min(use.writers)
    operation = "assign" if use.assigned else use.last[writer].operation or "assign"
    return lines_that_write_outside(facts.name, operation=operation, replica_id=writer)
