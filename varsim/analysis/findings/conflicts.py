"""Conflicts: unordered accesses by different replicas to values that no aggregation combines.

Each replica writes its own component. So two accesses conflict only if all components stand for one
value, as those of a mirrored variable without aggregation. (If the program reads a component of
another variable as the value, `divergence.py` reports it.) Equal writes by all replicas do not
conflict; to find such writes, the k-th writes of all replicas are compared.

If each replica reads its component, then assigns it, and not all replicas do so in the same calls,
no two accesses meet: each component is a state of its replica. Then the finding is a divergence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.fitting_aggregations import AGGREGATIONS, FittingAggregations
from varsim.analysis.findings.model import (
    OWN_VALUES,
    Evidence,
    Finding,
    FindingKind,
    Proposed,
    SelectiveFinder,
    finding_of,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts.facts import times
from varsim.texts.program_lines import lines_that_write_outside
from varsim.tracing.history import Event

WRITE_WRITE: Final = FindingKind(
    name="write-write conflict", about_values=True, mended_by_settings=True
)
READ_WRITE: Final = FindingKind(name="read-write conflict", about_values=True)

_LEAST_OWN: Final = 4
"""Least number of reads and assigns of own components that show a state of each replica."""

_MOST_ROUNDS: Final = 10_000
"""Largest lead of a replica over another one, in writes; later writes are not compared."""


@dataclass(slots=True)
class _Round:
    """The k-th write of every replica since the components were last assigned together."""

    first: Event
    chain: int
    digest: int | None
    arrived: int = 1


@dataclass(slots=True)
class _Suspect:
    """The accesses that seem to conflict, and their replicas."""

    evidence: Evidence = field(default_factory=Evidence)
    writers: set[int] = field(default_factory=set)
    readers: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Accesses:
    """The accesses of one variable."""

    counts: list[int]  # each replica's writes since all components were last assigned together
    rounds: dict[int, _Round] = field(default_factory=dict)
    # replica → its last read and its last write in the running call
    last_read: dict[int, Event] = field(default_factory=dict)
    last_write: dict[int, Event] = field(default_factory=dict)
    suspects: dict[tuple[int, int], Evidence] = field(default_factory=dict)  # (reader, writer)
    # assigns by a replica after a read of its component in the same call
    own: Evidence = field(default_factory=Evidence)
    owners: set[int] = field(default_factory=set)  # the replicas of these assigns
    partial: bool = False  # whether only some replicas wrote in a call
    apart: int = 0  # number of calls with writes after which the components differed
    operations: set[str | None] = field(default_factory=set)  # of all writes by replicas
    shared: bool = False  # whether there are other accesses, by which components are one value
    writes: _Suspect = field(default_factory=_Suspect)
    reads: _Suspect = field(default_factory=_Suspect)


class Conflicts(SelectiveFinder):
    """Finds write-write and read-write conflicts, and states of replicas in a mirrored variable."""

    kinds = (WRITE_WRITE, READ_WRITE, DIVERGENCE)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._clocks, self._components = context.clocks, context.components
        self._accesses: dict[int, _Accesses] = {}
        self._touched: set[int] = set()  # variables that were accessed in the running call
        self._fitting = FittingAggregations(context.comparisons, self._variables)

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether replicas write their own components of the variable."""
        return facts.unmerged

    def on_finish(self, event: Event) -> None:
        """Judge the accesses of the call."""
        self._finish_call(len(self.present(event.call)))

    def on_commit(self, event: Event) -> None:
        """Restart the counts of writes if all components are assigned together."""
        if event.variable is not None and event.replica is None and event.operation == "assign":
            accesses = self._of(event.variable)
            accesses.counts = [0] * self.num_replicas
            accesses.rounds.clear()

    def on_read_by_program(self, event: Event) -> None:
        """Record that the program uses the variable. varsim's own reads have no location."""
        if event.variable is not None and event.location is not None:
            self._of(event.variable).shared = True

    # Accesses by the program and by a replica are always ordered: one of the two waits.

    def on_read_by_replica(self, event: Event) -> None:
        """Compare a read with other replicas' writes that are unknown to the reader."""
        if event.variable is not None:
            self._touched.add(event.variable)
            self._read(event, self._of(event.variable))

    def on_write_by_replica(self, event: Event) -> None:
        """Compare a write with concurrent accesses of other replicas."""
        if event.variable is not None:
            self._touched.add(event.variable)
            self._write(event, event.variable, self._of(event.variable))

    def _of(self, variable: int) -> _Accesses:
        accesses = self._accesses.get(variable)
        if accesses is None:
            accesses = self._accesses[variable] = _Accesses([0] * self.num_replicas)
        return accesses

    def finish(self) -> list[Finding]:
        """Return the findings, one for each variable and kind."""
        self._finish_call(self.num_replicas)
        findings = []
        for variable, accesses in sorted(self._accesses.items()):
            found = _found(self._variables[variable], accesses, self._fitting.of(variable))
            if found:
                self.context.conflicting.add(variable)
            findings += found
        return findings

    def _write(self, event: Event, variable: int, accesses: _Accesses) -> None:
        replica_id = event.process
        accesses.operations.add(event.operation)
        if event.operation == "assign" and replica_id in accesses.last_read:
            accesses.own.add(event)
            accesses.owners.add(replica_id)
        else:
            accesses.shared = True
        accesses.counts[replica_id] += 1
        number = accesses.counts[replica_id]
        copies = self._components[variable]
        chain, digest = copies.chains[replica_id], copies.digests[replica_id]
        round_ = accesses.rounds.get(number)
        if round_ is None:
            if len(accesses.rounds) < _MOST_ROUNDS:
                accesses.rounds[number] = _Round(event, chain, digest)
        else:
            known = event.digest is not None and round_.first.digest is not None
            both = digest is not None and round_.digest is not None
            differ = digest != round_.digest if both else known and chain != round_.chain
            first = round_.first
            if differ and self._clocks.known(replica_id, first.process) < first.event:
                accesses.writes.evidence.add(event, first.event)
                if first.location is not None and first.location != event.location:
                    accesses.writes.evidence.locations[first.location] += 1
                accesses.writes.writers |= {replica_id, first.process}
            round_.arrived += 1
            if round_.arrived == self.num_replicas:
                del accesses.rounds[number]
        accesses.last_write[replica_id] = event
        for reader, read in accesses.last_read.items():
            ahead = number > accesses.counts[reader]
            if ahead and self._clocks.known(replica_id, reader) < read.event:
                _suspect(accesses, reader, replica_id, read, event)

    def _read(self, event: Event, accesses: _Accesses) -> None:
        reader = event.process
        accesses.last_read[reader] = event
        for writer, write in accesses.last_write.items():
            ahead = accesses.counts[writer] > accesses.counts[reader]
            if ahead and self._clocks.known(reader, writer) < write.event:
                _suspect(accesses, reader, writer, event, write)

    def _finish_call(self, present: int) -> None:
        for variable in self._touched:
            accesses = self._accesses[variable]
            copies = self._components[variable]
            if accesses.last_write:
                accesses.partial |= len(accesses.last_write) < present
                accesses.apart += copies.differ
            for (reader, writer), evidence in accesses.suspects.items():
                behind = accesses.counts[reader] < accesses.counts[writer]
                if behind and not copies.same_as(reader, writer):
                    accesses.reads.evidence.merge(evidence)
                    accesses.reads.readers.add(reader)
                    accesses.reads.writers.add(writer)
            accesses.suspects.clear()
            accesses.last_read.clear()
            accesses.last_write.clear()
        self._touched.clear()


def _suspect(accesses: _Accesses, reader: int, writer: int, read: Event, write: Event) -> None:
    evidence = accesses.suspects.get((reader, writer))
    if evidence is None:
        evidence = accesses.suspects[reader, writer] = Evidence()
    evidence.add(read, write.event)
    if write.location is not None and write.location != read.location:
        evidence.locations[write.location] += 1


def _replicas(numbers: set[int]) -> str:
    shown = [str(number) for number in sorted(numbers)]
    if len(shown) == 1:
        return f"replica {shown[0]}"
    if len(shown) > 4:
        return f"{len(shown)} replicas"
    return f"replicas {', '.join(shown[:-1])} and {shown[-1]}"


def _found(facts: VariableFacts, accesses: _Accesses, fitting: _Fitting) -> list[Finding]:
    """Return the findings about one variable."""
    own = accesses.own.count >= _LEAST_OWN and not accesses.shared
    if own and accesses.partial and accesses.apart and len(accesses.owners) > 1:
        return [_states(facts, accesses)]
    found = []
    if accesses.writes.evidence.count:
        found.append(_write_write(facts, accesses, fitting, own=own))
    if accesses.reads.evidence.count:
        found.append(_read_write(facts, accesses))
    return found


def _states(facts: VariableFacts, accesses: _Accesses) -> Finding:
    who = _replicas(accesses.owners)
    return finding_of(
        DIVERGENCE,
        facts,
        accesses.own,
        f"{who} read their own components of {facts.name} and assigned them new values, "
        f"{times(accesses.own.count, 'time')}, but not all in the same calls. There is no "
        "aggregation, so each write changed one component, and nothing makes the components equal "
        f"again: they differed after {times(accesses.apart, 'call')} with such writes.",
        "If the value is to be the same for all replicas, let them decide together: reduce the "
        "condition of the write (all_reduce), so that every replica writes the same value. If it "
        "is a state of each replica, choose ON_READ, with which each replica has its own value.",
        settings=None if facts.manual else OWN_VALUES,
    )


def _write_write(
    facts: VariableFacts, accesses: _Accesses, fitting: _Fitting, *, own: bool
) -> Finding:
    """Return the finding about conflicting writes.

    Args:
        own: Whether each replica reads and assigns only its component, and the program reads none.
    """
    found = accesses.writes
    what = (
        f"{_replicas(found.writers)} wrote different values to their components, "
        f"{times(found.evidence.count, 'time')}. The writes have no order, and no aggregation "
        "combines their values."
    )
    if own and not facts.manual:
        remedy = (
            "If the value is a state of each replica, choose ON_READ, with which each replica has "
            f"its own value. If it is to be one value for all, give the variable {_COMBINE}"
        )
        return finding_of(WRITE_WRITE, facts, found.evidence, what, remedy, settings=OWN_VALUES)
    if fitting == ():
        return finding_of(
            WRITE_WRITE,
            facts,
            found.evidence,
            f"{what} Neither their sum nor their mean nor the value of replica 0 is the single "
            "device's value.",
            _DECIDE_TOGETHER,
            mended_by_settings=False,
        )
    settings = _combined(facts, accesses, fitting)
    remedy = f"Give the variable {_COMBINE}"
    if settings is not None:
        remedy += f" {_why(settings.aggregation, fitting)}"
    return finding_of(
        WRITE_WRITE,
        facts,
        found.evidence,
        what,
        remedy,
        settings=settings,
        paste=_written_outside(facts, found, accesses),
    )


_COMBINE: Final = (
    "the aggregation that you need, with ON_WRITE; or return the value from the function, and "
    "write it outside strategy.run, where one write changes every component."
)

_DECIDE_TOGETHER: Final = (
    "Reduce what the value is computed from (all_reduce) before each replica computes and writes "
    "it, so that all replicas write the same value. Or return what it is computed from, and "
    "compute and write the value outside strategy.run, where one write changes every component."
)

_Fitting = tuple[VariableAggregation, ...] | None
"""The aggregations that give the single device's value; None if there is none to compare with."""


def _why(chosen: VariableAggregation, fitting: _Fitting) -> str:
    """Return a sentence on the proposed aggregation, and on others that combine the writes."""
    if fitting is None:
        others = " and ".join(one.name for one in AGGREGATIONS if one is not chosen)
        return (
            f"{chosen.name} is an example: {others} combine the writes, too. A comparison with a "
            "single device (--oracle) shows which of them gives the right value."
        )
    others = " and ".join(one.name for one in fitting if one is not chosen)
    also = f"; {others} would in this run, too" if others else ""
    return f"{chosen.name} gives the single device's value{also}."


def _combined(facts: VariableFacts, accesses: _Accesses, fitting: _Fitting) -> Proposed | None:
    """Return settings that combine the writes; None if not all replicas wrote in each call."""
    if accesses.partial:
        return None
    usual = _aggregation(facts, accesses)
    chosen = usual if not fitting or usual in fitting else fitting[0]
    return Proposed(VariableSynchronization.ON_WRITE, chosen)


def _aggregation(facts: VariableFacts, accesses: _Accesses) -> VariableAggregation:
    """Return the aggregation that combines such writes of the replicas."""
    if accesses.operations <= {"assign_add", "assign_sub"}:
        return VariableAggregation.SUM
    if facts.numpy_dtype.kind == "f":
        return VariableAggregation.MEAN
    return VariableAggregation.ONLY_FIRST_REPLICA


def _read_write(facts: VariableFacts, accesses: _Accesses) -> Finding:
    found = accesses.reads
    return finding_of(
        READ_WRITE,
        facts,
        found.evidence,
        f"{_replicas(found.readers)} read while {_replicas(found.writers)} wrote: the read and the "
        "write have no order, and there is no aggregation. This "
        f"happened {times(found.evidence.count, 'time')}; the reader's component did not get the "
        "write.",
        "Return the value from the function, and write the variable outside strategy.run, where "
        "one write changes every component. Or let all replicas write it, with ON_WRITE: aggregate "
        "with "
        "ONLY_FIRST_REPLICA if all write the same value, and with MEAN if each writes the value of "
        "its own part.",
        paste=_written_outside(facts, found, accesses),
    )


def _written_outside(
    facts: VariableFacts, found: _Suspect, accesses: _Accesses
) -> tuple[str, str, str]:
    """Return lines that write one value outside the call: that of the writer, or of all."""
    aggregation = _aggregation(facts, accesses)
    adds = aggregation is VariableAggregation.SUM
    several = len(found.writers) > 1 and aggregation is not VariableAggregation.ONLY_FIRST_REPLICA
    return lines_that_write_outside(
        facts.name,
        operation=_operation(accesses) if adds else "assign",
        op=aggregation.name if several else "",
        replica_id=min(found.writers),
    )


def _operation(accesses: _Accesses) -> str:
    """Return the operation of adds: assign_sub only if all writes are."""
    return "assign_sub" if accesses.operations == {"assign_sub"} else "assign_add"
