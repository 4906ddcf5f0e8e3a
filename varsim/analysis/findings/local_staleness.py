"""Stale reads of variables that each replica writes for itself: a read lacks earlier writes.

A read is stale if it lacks writes of other replicas that happened before the read, and the
components were not synchronised after these writes. The clocks show which writes happened before;
concurrent writes do not count.

There are two exceptions:
- If the replica writes the component after the read, it accumulates a value, and the read is not
  stale. The write must follow in the same call. If the program synchronises the components and they
  are not parts of a sum, the write may also follow in a later call before the next synchronisation.
  An add to a part of a sum does not count as such a write, because an add needs no read, unless
  it makes the component 0.
- If the variable has no aggregation, no read is stale before the first synchronisation.

If the policy of the variable intends such reads, there is a note instead of a finding. It counts
all reads that lack writes, without the first exception, and says what it does not count.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.components import sets_back
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import Finding, Proposed, SelectiveFinder
from varsim.analysis.findings.staleness import STALE_READ, Staleness, stale_finding
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.outcome import Note
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts.facts import times
from varsim.tracing.history import Event
from varsim.tracing.kinds import OWN

_MOST_NAMES: Final = 3  # number of variables that a note names

_KEPT_WRITES: Final = 256
"""Number of kept writes of a replica. Of older ones, only how many the others know is kept."""


@dataclass(slots=True)
class _LocalWrites:
    """One replica's local writes of one variable."""

    forgotten: int = 0  # number of dropped writes
    before: dict[int, int] = field(default_factory=dict)
    """Event → number of writes up to it; for the events that the other replicas knew at a drop."""
    numbers: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def add(self, event: Event, clocks: Callable[[], Iterable[int]]) -> None:
        """Add the next write.

        Args:
            clocks: Returns the replica's last events that the other replicas know.
        """
        self.numbers.append(event.event)
        self.times_s.append(event.time_s)
        if len(self.numbers) >= 2 * _KEPT_WRITES:
            known = {clock: self.known(clock) for clock in clocks() if not self.is_unknown(clock)}
            self.before = known
            del self.numbers[:_KEPT_WRITES], self.times_s[:_KEPT_WRITES]
            self.forgotten += _KEPT_WRITES

    @property
    def count(self) -> int:
        """Return the number of writes."""
        return self.forgotten + len(self.numbers)

    def is_unknown(self, clock: int) -> bool:
        """Return whether the number of writes up to the replica's event `clock` is not known."""
        return self.forgotten > 0 and clock < self.numbers[0] and clock not in self.before

    def known(self, clock: int) -> int:
        """Return how many of the writes happened up to the replica's event `clock`, at least."""
        if not self.numbers or clock < self.numbers[0]:
            return self.before.get(clock, 0)
        return self.forgotten + bisect_right(self.numbers, clock)

    def time_of(self, index: int) -> float:
        """Return the time of a write by its index; the oldest kept time for a dropped write."""
        return self.times_s[max(index - self.forgotten, 0)]


class UnsyncedWrites:
    """The local writes of one variable, and the reads that lack some of these writes."""

    def __init__(self, num_replicas: int) -> None:
        self.in_call = Staleness()  # a read is stale unless its replica writes later in the call
        self.until_synced = Staleness()  # a read is stale unless its replica writes before a sync
        self.intended = Staleness()  # every read that lacks writes is stale
        self.undecided = 0  # reads of which it is not known whether they lack writes
        self.mixed = False  # whether an exchange gave a replica a component of its own
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

    def staleness(self, facts: VariableFacts) -> Staleness:
        """Return the result for this variable, after the last event."""
        if facts.local_reads:
            return self.intended
        return self.until_synced if self.syncs and not facts.summed else self.in_call


class LocalStaleness(SelectiveFinder):
    """Finds reads in replicas that lack earlier writes of other replicas."""

    kinds = (STALE_READ,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._clocks, self._components = context.clocks, context.components
        self._states: dict[int, UnsyncedWrites] = {}
        self._waiting: list[set[int]] = [set() for _ in range(self.num_replicas)]
        """[replica]: the variables of which the replica has undecided reads."""
        # Each replica's last event that may have given it values of other replicas.
        self._last_heard = [-1] * self.num_replicas
        self._obtained: dict[tuple[int, int], int | None] = {}
        """(variable, replica): the digest of a copy, until the replica writes its component."""

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether a write in a replica changes only its own component."""
        return not (facts.merged or facts.deferred)

    def on_finish(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        """End the calls of all replicas."""
        for replica_id in range(self.num_replicas):
            self._end_call(replica_id)

    def on_arrive(self, event: Event) -> None:
        """Record a collective without a variable; its result may have other replicas' values."""
        if event.variable is None:
            self._last_heard[event.process] = event.event

    def on_obtain_by_replica(self, event: Event) -> None:
        """Record a one-sided read, which gives values of other replicas."""
        if event.variable is not None:
            self._last_heard[event.process] = event.event
            self._obtained[event.variable, event.process] = event.digest

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
            state.mixed |= event.position is not None
            state.synced = list(state.synced)
            state.synced[event.replica] = [one.count for one in state.writes]

    def on_write_by_replica(self, event: Event) -> None:
        """Count a local write; the contribution to an exchange is no write of its own."""
        if event.variable is not None and event.position is None:
            self._write(event, event.variable, self._state(event.variable))

    def on_read_by_replica(self, event: Event) -> None:
        """Count the missing writes of a read.

        A worker's program that reads its own component outside `run` wants no other writes.
        """
        if event.variable is not None and event.operation != OWN:
            self._read(event, event.variable, self._state(event.variable))

    def _state(self, variable: int) -> UnsyncedWrites:
        state = self._states.get(variable)
        if state is None:
            state = self._states[variable] = UnsyncedWrites(self.num_replicas)
        return state

    def finish(self) -> list[Finding]:
        """Return one finding for each variable with stale reads that its policy does not intend.

        Stale reads of a variable with conflicts follow from the conflicts, so they are left out.
        """
        return [
            stale_finding(facts, staleness, "write", _remedy(facts), _proposed(facts))
            for facts, staleness in self._stale()
            if not facts.local_reads and facts.variable_id not in self.context.conflicting
        ]

    def notes(self) -> list[Note]:
        """Return a note for each synchronization that intends stale reads, if there were reads."""
        intended: defaultdict[str, list[tuple[VariableFacts, UnsyncedWrites]]] = defaultdict(list)
        for number, state in sorted(self._states.items()):
            facts = self._variables[number]
            if facts.local_reads and self.num_replicas > 1 and state.intended.reads:
                intended[facts.synchronization].append((facts, state))
        return [_note(name, found) for name, found in intended.items()]

    def _stale(self) -> Iterator[tuple[VariableFacts, Staleness]]:
        """Yield the variables with stale reads, after the last event."""
        for replica_id in range(self.num_replicas):
            self._end_call(replica_id)
        for number, state in sorted(self._states.items()):
            state.end_of_period()
            facts = self._variables[number]
            staleness = state.staleness(facts)
            if staleness.evidence.count:
                yield facts, staleness

    def _write(self, event: Event, variable: int, state: UnsyncedWrites) -> None:
        replica_id, facts = event.process, self._variables[variable]
        if self._is_adopted(event, variable) and facts.local_reads:
            state.mixed = True  # the policy replaced the component, and nothing was added to it
            self._catch_up(replica_id, state)
            return
        after = self._components[variable].values[replica_id]
        if not facts.summed or sets_back(event, after):
            state.go_on(replica_id)
            self._waiting[replica_id].discard(variable)
        numbers = state.writes[replica_id].numbers
        heard_since = self._last_heard[replica_id] > (numbers[-1] if numbers else -1)
        state.writes[replica_id].add(event, lambda: self._clocks_of(replica_id))
        united = self._components[variable].united_at == event.event
        # Each component of a sum is only a part. If a policy exchanges, values are equal by chance.
        if united and not (facts.summed or facts.local_reads):
            state.sync()
        elif event.operation == "assign" and heard_since:
            # The value may be the result of the collective, or of the one-sided read.
            self._catch_up(replica_id, state)

    def _clocks_of(self, replica_id: int) -> Iterator[int]:
        """Yield the last event of a replica that each of the others knows."""
        for other in range(self.num_replicas):
            if other != replica_id:
                yield self._clocks.known(other, replica_id)

    def _is_adopted(self, event: Event, variable: int) -> bool:
        """Return whether a write stores what its replica has just obtained."""
        obtained = self._obtained.pop((variable, event.process), None)
        return event.operation == "assign" and obtained is not None and obtained == event.digest

    def _catch_up(self, replica_id: int, state: UnsyncedWrites) -> None:
        """Mark a component as including all writes that its replica knows."""
        clock = self._clocks.clock(replica_id)
        known = [writes.known(clock[other]) for other, writes in enumerate(state.writes)]
        state.synced = list(state.synced)
        state.synced[replica_id] = list(map(max, known, state.synced[replica_id]))

    def _read(self, event: Event, variable: int, state: UnsyncedWrites) -> None:
        reader, facts = event.process, self._variables[variable]
        lacks, since_s, decided = 0, event.time_s, True
        if self._matters(reader, variable):
            clock, synced = self._clocks.clock(reader), state.synced[reader]
            for other, writes in enumerate(state.writes):
                if other == reader:
                    continue
                if (more := writes.known(clock[other]) - synced[other]) > 0:
                    lacks += more
                    since_s = min(since_s, writes.time_of(synced[other]))
                elif writes.is_unknown(clock[other]) and synced[other] < writes.forgotten:
                    decided = False
        if facts.local_reads:
            self._count(state, event, lacks, since_s, decided=decided)
        elif lacks:
            state.wait(event, lacks, event.time_s - since_s)
            self._waiting[reader].add(variable)
        else:
            state.in_call.reads[0] += 1
            state.until_synced.reads[0] += 1

    def _count(
        self, state: UnsyncedWrites, event: Event, lacks: int, since_s: float, *, decided: bool
    ) -> None:
        """Count a read under a policy that intends stale reads."""
        if lacks:
            state.intended.add(event, lacks, event.time_s - since_s)
        else:
            state.intended.reads[0] += 1
            state.undecided += not decided

    def _matters(self, reader: int, variable: int) -> bool:
        """Return whether other replicas' writes may change the component's value."""
        facts, copies = self._variables[variable], self._components[variable]
        if facts.local_reads and not facts.first:
            return True  # count every read that lacks writes, also of equal values
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


def _proposed(facts: VariableFacts) -> Proposed | None:
    """Return settings with the same aggregation, under which a read sees all earlier writes."""
    if not facts.gathered or facts.one_copy:
        return None
    return Proposed(VariableSynchronization.ON_WRITE, VariableAggregation[facts.aggregation])


def _remedy(facts: VariableFacts) -> str:
    if facts.gathered:
        return (
            "Choose ON_WRITE if every read must see every write; each write is then an exchange. "
            "Or read the variable outside strategy.run, where the components are aggregated, and "
            "give the value to strategy.run in `args`."
        )
    if facts.mirrored:
        return (
            "Without an aggregation, a write in a replica changes only its own component. Write "
            "the variable outside strategy.run, where one write changes every component; or give "
            "it an aggregation, and let every replica write it in the same step."
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


_MIXED: Final = (
    ", and a component counts as new after an exchange, although its policy may combine only some "
    "of the components"
)

_DROPPED: Final = "varsim no longer kept the writes that are needed for this"


def _note(synchronization: str, found: Sequence[tuple[VariableFacts, UnsyncedWrites]]) -> Note:
    names = [facts.name for facts, _ in found[:_MOST_NAMES]]
    more = f" and {len(found) - len(names)} more" if len(found) > len(names) else ""
    undecided = sum(one.undecided for _, one in found)
    reads = sum(sum(one.intended.reads.values()) for _, one in found) - undecided
    stale = sum(one.intended.evidence.count for _, one in found)
    intends = f", as {synchronization} intends" if stale else ""
    mixed = _MIXED if any(one.mixed for _, one in found) else ""
    left = f". {times(undecided, 'read')} more could not be judged: {_DROPPED}" if undecided else ""
    return Note(
        text=f"whether reads of {', '.join(names)}{more} in replicas are too old: {stale:,} of "
        f"{times(reads, 'read')} lacked earlier writes of other replicas{intends}. A write "
        f"is counted only after a message about it has reached the reader{mixed}{left}"
    )
