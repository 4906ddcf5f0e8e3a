"""Stale reads: a replica reads a component that lacks earlier writes or commits.

`VersionStaleness` checks mirrored variables, by the versions of reads.

`LocalStaleness` checks variables that each replica writes for itself. A read is stale if it lacks
writes of other replicas that happened before the read, and the components were not synchronised
after these writes. The clocks show which writes happened before; concurrent writes do not count.

There are three exceptions:
- If the replica writes the component after the read, it accumulates a value, and the read is not
  stale. The write must follow in the same call. If the program synchronises the components and they
  are not parts of a sum, the write may also follow in a later call before the next synchronisation.
  An add to a part of a sum does not count as such a write, because an add needs no read.
- If the variable has no aggregation, no read is stale before the first synchronisation.
- If the policy of the variable intends such reads, they cause a note instead of a finding.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
    milliseconds,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.outcome import Note
from varsim.texts.facts import times
from varsim.tracing.history import Event

STALE_READ: Final = FindingKind(name="stale read", certainty=Certainty.PATTERN, about_values=True)

_NEVER: Final = (0, 0.0)

_MOST_NAMES: Final = 3  # number of variables that a note names

_KEPT_COMMITS: Final = 128
"""Number of commits of a variable whose times are kept. Older commits get the oldest kept time."""

_KEPT_WRITES: Final = 256
"""Number of kept writes of a replica. A read is judged only if its replica knows a kept write."""


@dataclass(slots=True)
class Staleness:
    """How old the components of one variable are in the replicas' reads."""

    reads: Counter[int] = field(default_factory=Counter)  # by staleness, in versions or writes
    evidence: Evidence = field(default_factory=Evidence)  # of the stale reads
    oldest_s: float = 0.0  # the longest time from a missing version or write to a read

    def add(self, event: Event, staleness: int, age_s: float) -> None:
        """Count a stale read."""
        self.reads[staleness] += 1
        self.oldest_s = max(self.oldest_s, age_s)
        self.evidence.add(event)

    def merge(self, other: Staleness) -> None:
        """Add the reads of another `Staleness`."""
        self.reads.update(other.reads)
        self.evidence.merge(other.evidence)
        self.oldest_s = max(self.oldest_s, other.oldest_s)


# ---------------------------------------------------------------- by versions


@dataclass(slots=True)
class _VersionUses:
    staleness: Staleness = field(default_factory=Staleness)
    versions: list[int] = field(default_factory=list)  # versions of the last commits
    times_s: list[float] = field(default_factory=list)
    # The replica of each version's component; None for all components.
    owners: list[int | None] = field(default_factory=list)
    # process → the newest version that this process used, and the time
    used: dict[int, tuple[int, float]] = field(default_factory=dict)
    newest_used: int = 0
    fresh: int = 0  # reads of a version that is at least as new as all versions used before

    def use(self, event: Event, version: int) -> None:
        """Record that a process has read a version."""
        used = self.used.get(event.process, _NEVER)
        if version > used[0]:
            self.used[event.process] = version, event.time_s
            self.newest_used = max(self.newest_used, version)


class VersionStaleness(Finder):
    """Finds reads of a mirrored variable that return an older version than earlier uses.

    A commit that no process has used may still be in transit, so reads need not show it.
    """

    kinds = (STALE_READ,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {n: one for n, one in context.variables.items() if one.mirrored}
        self._mirrors: defaultdict[int | None, _VersionUses] = defaultdict(_VersionUses)

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable is mirrored."""
        return variable in self._variables

    def on_commit(self, event: Event) -> None:
        """Store the version and its time."""
        version = event.version
        if version is None:
            return
        mirror = self._mirrors[event.variable]
        mirror.versions.append(version)
        mirror.times_s.append(event.time_s)
        mirror.owners.append(event.replica)
        if len(mirror.versions) >= 2 * _KEPT_COMMITS:
            kept = slice(None, _KEPT_COMMITS)
            del mirror.versions[kept], mirror.times_s[kept], mirror.owners[kept]

    def on_read_by_program(self, event: Event) -> None:
        """Record that the version was used."""
        if event.version is not None:
            self._mirrors[event.variable].use(event, event.version)

    def on_read_by_replica(self, event: Event) -> None:
        """Judge the age of the version, and record that it was used."""
        version = event.version
        if version is None:
            return
        mirror = self._mirrors[event.variable]
        if version < mirror.newest_used:
            self._judge(event, version, mirror)
        else:
            mirror.fresh += 1
        mirror.use(event, version)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable with stale reads."""
        stale = [
            (self._variables[number], self._mirrors[number])
            for number in sorted(self._variables)
            if number in self._mirrors and self._mirrors[number].staleness.evidence.count
        ]
        for _, mirror in stale:
            if mirror.fresh:
                mirror.staleness.reads[0] += mirror.fresh
        return [_finding(facts, mirror.staleness, "version", _WAIT) for facts, mirror in stale]

    def _judge(self, event: Event, version: int, mirror: _VersionUses) -> None:
        missed = self._missed(event, version, mirror)
        if missed and any(
            used >= missed[0][0] and when_s < event.time_s
            for process, (used, when_s) in mirror.used.items()
            if process != event.process
        ):
            counted = all(one is None for one in mirror.owners)  # if true, versions have no gaps
            staleness = missed[-1][0] - version if counted else len(missed)
            mirror.staleness.add(event, staleness, event.time_s - missed[0][1])
        else:
            mirror.staleness.reads[0] += 1

    def _missed(self, event: Event, version: int, mirror: _VersionUses) -> list[tuple[int, float]]:
        """Return the later versions of the read component that were committed before the read."""
        # The versions of all components are in order; those of single components may be mixed.
        is_sorted = all(one is None for one in mirror.owners)
        start = bisect_right(mirror.versions, version) if is_sorted else 0
        return [
            (mirror.versions[i], mirror.times_s[i])
            for i in range(start, len(mirror.versions))
            if mirror.versions[i] > version
            and mirror.owners[i] in {None, event.process}
            and mirror.times_s[i] < event.time_s
        ]


# ---------------------------------------------------------------- by writes


@dataclass(slots=True)
class _LocalWrites:
    """One replica's local writes of one variable."""

    forgotten: int = 0  # number of dropped writes
    numbers: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Add the next write."""
        self.numbers.append(event.event)
        self.times_s.append(event.time_s)
        if len(self.numbers) >= 2 * _KEPT_WRITES:
            del self.numbers[:_KEPT_WRITES], self.times_s[:_KEPT_WRITES]
            self.forgotten += _KEPT_WRITES

    @property
    def count(self) -> int:
        """Return the number of writes."""
        return self.forgotten + len(self.numbers)

    def known(self, clock: int) -> int:
        """Return how many of the writes happened up to the replica's event `clock`."""
        if not self.numbers or clock < self.numbers[0]:
            return 0
        return self.forgotten + bisect_right(self.numbers, clock)

    def time_of(self, index: int) -> float:
        """Return the time of a write by its index; the oldest kept time for a dropped write."""
        return self.times_s[max(index - self.forgotten, 0)]


class UnsyncedWrites:
    """The local writes of one variable, and the reads that lack some of these writes."""

    def __init__(self, num_replicas: int) -> None:
        self.in_call = Staleness()  # a read is stale unless its replica writes later in the call
        self.until_synced = Staleness()  # a read is stale unless its replica writes before a sync
        self.syncs = 0  # synchronisations after a write
        self.synced_at = 0  # number of writes at the last sync
        self.writes = [_LocalWrites() for _ in range(num_replicas)]
        self.synced: list[list[int]] = [[0] * num_replicas for _ in range(num_replicas)]
        """[replica][other]: how many writes of `other` the replica's component includes."""
        # replica → undecided reads of this call, and of earlier calls since the last sync
        self.pending: dict[int, Staleness] = {}
        self.later: dict[int, Staleness] = {}

    def sync(self) -> None:
        """Mark all components as including all writes."""
        self.end_of_period()
        count = sum(one.count for one in self.writes)
        self.syncs += count > self.synced_at
        self.synced_at = count
        self.synced = [[one.count for one in self.writes]] * len(self.writes)

    def wait(self, read: Event, lacks: int, age_s: float) -> None:
        """Store a read that lacks some writes; the replica's later writes decide if it is stale."""
        pending = self.pending.get(read.process)
        if pending is None:
            pending = self.pending[read.process] = Staleness()
        pending.add(read, lacks, age_s)

    def go_on(self, replica_id: int) -> None:
        """Count a replica's stored reads as fresh, because the replica now writes the component."""
        fresh = 0
        if pending := self.pending.pop(replica_id, None):
            fresh = sum(pending.reads.values())
            self.in_call.reads[0] += fresh
        if later := self.later.pop(replica_id, None):
            fresh += sum(later.reads.values())
        if fresh:
            self.until_synced.reads[0] += fresh

    def end_call(self, replica_id: int) -> None:
        """Count a replica's stored reads as stale within the call, because no write followed."""
        if pending := self.pending.pop(replica_id, None):
            self.in_call.merge(pending)
            self.later.setdefault(replica_id, Staleness()).merge(pending)

    def end_of_period(self) -> None:
        """Count the reads since the last sync as stale, because no write followed."""
        for later in self.later.values():
            self.until_synced.merge(later)
        self.later.clear()

    def staleness(self, *, summed: bool) -> Staleness:
        """Return the result for this variable, after the last event."""
        return self.until_synced if self.syncs and not summed else self.in_call


class LocalStaleness(Finder):
    """Finds reads in replicas that lack earlier writes of other replicas."""

    kinds = (STALE_READ,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {
            number: one
            for number, one in context.variables.items()
            if not (one.merged or one.deferred)
        }
        self._clocks, self._components = context.clocks, context.components
        self._states: dict[int, UnsyncedWrites] = {}
        self._waiting: list[set[int]] = [set() for _ in range(self.num_replicas)]
        """[replica]: the variables of which the replica has undecided reads."""
        self._last_collective = [-1] * self.num_replicas

    def concerns(self, variable: int | None) -> bool:
        """Return whether a write in a replica changes only its own component."""
        return variable is None or variable in self._variables

    def on_finish(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        """End the calls of all replicas."""
        for replica_id in range(self.num_replicas):
            self._end_call(replica_id)

    def on_arrive(self, event: Event) -> None:
        """Record a collective without a variable; its result may have other replicas' values."""
        if event.variable is None:
            self._last_collective[event.process] = event.event

    def on_return(self, event: Event) -> None:
        """End the call of a replica."""
        if event.variable is None:
            self._end_call(event.process)

    def on_raise(self, event: Event) -> None:
        """End the call of a replica."""
        self.on_return(event)

    def on_commit(self, event: Event) -> None:
        """Mark components as synchronised if the program assigns them."""
        if event.variable is None or event.operation != "assign":
            return
        state = self._state(event.variable)
        if event.replica is None:
            state.sync()
        else:
            state.synced = list(state.synced)
            state.synced[event.replica] = [one.count for one in state.writes]

    def on_write_by_replica(self, event: Event) -> None:
        """Count a write."""
        if event.variable is not None:
            self._write(event, event.variable, self._state(event.variable))

    def on_read_by_replica(self, event: Event) -> None:
        """Count the missing writes of a read."""
        if event.variable is not None:
            self._read(event, event.variable, self._state(event.variable))

    def _state(self, variable: int) -> UnsyncedWrites:
        state = self._states.get(variable)
        if state is None:
            state = self._states[variable] = UnsyncedWrites(self.num_replicas)
        return state

    def finish(self) -> list[Finding]:
        """Return one finding for each variable with stale reads that its policy does not intend."""
        return [
            _finding(facts, staleness, "write", _remedy(facts))
            for facts, staleness in self._stale()
            if not facts.local_reads
        ]

    def notes(self) -> list[Note]:
        """Return a note for each synchronization that intends stale reads, if there were any."""
        intended: defaultdict[str, list[tuple[VariableFacts, Staleness]]] = defaultdict(list)
        for facts, staleness in self._stale():
            if facts.local_reads:
                intended[facts.synchronization].append((facts, staleness))
        return [_note(name, found) for name, found in intended.items()]

    def _stale(self) -> Iterator[tuple[VariableFacts, Staleness]]:
        """Yield the variables with stale reads, after the last event."""
        for replica_id in range(self.num_replicas):
            self._end_call(replica_id)
        for number, state in sorted(self._states.items()):
            state.end_of_period()
            facts = self._variables[number]
            staleness = state.staleness(summed=facts.summed)
            if staleness.evidence.count:
                yield facts, staleness

    def _write(self, event: Event, variable: int, state: UnsyncedWrites) -> None:
        replica_id, facts = event.process, self._variables[variable]
        if not (facts.summed and event.operation != "assign"):
            state.go_on(replica_id)
            self._waiting[replica_id].discard(variable)
        numbers = state.writes[replica_id].numbers
        heard_since = self._last_collective[replica_id] > (numbers[-1] if numbers else -1)
        state.writes[replica_id].add(event)
        united = self._components[variable].united_at == event.event
        if united and not facts.summed:  # each component of a sum is only a part
            state.sync()
        elif event.operation == "assign" and heard_since:
            # The value may be the result of the collective.
            state.synced = list(state.synced)
            state.synced[replica_id] = self._known(replica_id, state)

    def _known(self, replica_id: int, state: UnsyncedWrites) -> list[int]:
        clock = self._clocks.clock(replica_id)
        return [writes.known(clock[other]) for other, writes in enumerate(state.writes)]

    def _read(self, event: Event, variable: int, state: UnsyncedWrites) -> None:
        reader = event.process
        lacks, since_s = 0, event.time_s
        if self._matters(reader, variable):
            clock, synced = self._clocks.clock(reader), state.synced[reader]
            for other, writes in enumerate(state.writes):
                if other != reader and (more := writes.known(clock[other]) - synced[other]) > 0:
                    lacks += more
                    since_s = min(since_s, writes.time_of(synced[other]))
        if lacks:
            state.wait(event, lacks, event.time_s - since_s)
            self._waiting[reader].add(variable)
        else:
            state.in_call.reads[0] += 1
            state.until_synced.reads[0] += 1

    def _matters(self, reader: int, variable: int) -> bool:
        """Return whether other replicas' writes may change the component's value."""
        facts, copies = self._variables[variable], self._components[variable]
        if facts.own and copies.synchronised_at < 0:
            return False
        if facts.first:
            return not copies.same_as(reader, 0)
        return facts.summed or not copies.same

    def _end_call(self, replica_id: int) -> None:
        waiting = self._waiting[replica_id]
        for variable in waiting:
            self._states[variable].end_call(replica_id)
        waiting.clear()


# ---------------------------------------------------------------- texts


_WAIT: Final = (
    "Let the readers wait for the write (ON_WRITE), or put a collective (all_reduce, "
    "merge_call) or the end of strategy.run between the write and the read."
)


def _remedy(facts: VariableFacts) -> str:
    if facts.gathered:
        return (
            "Read the variable outside strategy.run, where the components are aggregated, or "
            "assign this aggregate to it more often. Choose ON_WRITE if every read must see every "
            "write."
        )
    if not facts.manual:
        return (
            f"Choose parameters with which the policy {facts.synchronization} exchanges components "
            "more often, or ON_WRITE with an aggregation if every read must see every write."
        )
    return (
        "Synchronise the components before these reads, or more often. Choose ON_WRITE with an "
        "aggregation if every read must see every write."
    )


def _note(synchronization: str, found: Sequence[tuple[VariableFacts, Staleness]]) -> Note:
    names = [facts.name for facts, _ in found[:_MOST_NAMES]]
    more = f" and {len(found) - len(names)} more" if len(found) > len(names) else ""
    reads = sum(sum(staleness.reads.values()) for _, staleness in found)
    stale = sum(staleness.evidence.count for _, staleness in found)
    return Note(
        text=f"whether reads of {', '.join(names)}{more} in replicas are too old: {stale:,} of "
        f"{times(reads, 'read')} lacked earlier writes of other replicas, as {synchronization} "
        "intends"
    )


def _finding(facts: VariableFacts, staleness: Staleness, unit: str, remedy: str) -> Finding:
    reads = sum(staleness.reads.values())
    stale = staleness.evidence.count
    lacked = "lacked" if unit == "write" else "were behind by"
    whose = " of other replicas" if unit == "write" else ""
    return finding_of(
        STALE_READ,
        facts,
        staleness.evidence,
        f"{stale:,} of {times(reads, 'read')} in replicas {lacked} up to "
        f"{times(max(staleness.reads), unit)}{whose}. The longest time from a missing {unit} to "
        f"the read was {milliseconds(staleness.oldest_s)}.",
        remedy,
        histogram=tuple(sorted(staleness.reads.items())),
    )
