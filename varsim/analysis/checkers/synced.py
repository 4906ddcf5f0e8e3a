"""A sync stores the aggregate of the components at that point in every component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from varsim.analysis import arithmetic, combination
from varsim.analysis.arithmetic import Flat
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.components import ReplayedVariable
from varsim.analysis.replay import Replay
from varsim.analysis.sampled import alike, like
from varsim.tracing.history import Event


@dataclass(slots=True)
class _Meeting:
    """One sync of the replicas of a call."""

    components: dict[int, Event] = field(default_factory=dict)  # replica → its component


class Synced(Checker):
    """Recomputes the result of each `v.sync` and `v.broadcast` from the components.

    After its `sync` event, the next write of a replica to the variable stores the result.
    """

    name = "synced"
    compares = "sync"
    promise = "a sync stores the aggregate of the components at that point"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        # (call, members, position) → meeting
        self._meetings: dict[tuple[int, str | None, int], _Meeting] = {}
        self._waits: dict[int, tuple[int, _Meeting]] = {}  # replica → its variable and meeting
        self._by_program: Event | None = None

    def on_sync_by_replica(self, event: Event) -> None:
        """Check that the replica contributes its component."""
        variable, own = self.variable_of(event), self.own(event)
        held = self.matches(own.value, event)
        if held is None:
            self.unrecorded(variable, "a component was not recorded", event.event)
        elif not held:
            reason = f"{seen_by(event)} synchronises another value than its component"
            self.wrong(variable, reason, (event.event, *own.because()))
        if event.call is not None and event.position is not None:
            key = event.call, event.members, event.position
            meeting = self._meetings.setdefault(key, _Meeting())
            meeting.components[event.process] = event
            self._waits[event.process] = variable.number, meeting

    def on_write_by_replica(self, event: Event) -> None:
        """Compare the first write after a sync with the aggregate."""
        waits = self._waits.get(event.process)
        if waits is None or waits[0] != event.variable:
            return
        _, meeting = self._waits.pop(event.process)
        variable, came = self.variable_of(event), meeting.components
        present = self.replay.members(came[event.process])
        if not came.keys() >= set(present):
            reason = f"{seen_by(event)} has the result of a sync before all replicas took part"
            proof = (*(one.event for one in came.values()), event.event)
            self.wrong(variable, reason, proof)
            return
        events = [came[replica] for replica in present]
        dtype = variable.promise.dtype
        values = [arithmetic.elements_of(one, dtype) for one in events]
        self._compare(variable, events[0], values, event, events)

    def on_sync_by_program(self, event: Event) -> None:
        """Compare the value that the program stores with the aggregate of the components."""
        variable = self.variable_of(event)
        values = [
            variable.known_to_program(replica) for replica in event.group or self.replay.replicas
        ]
        self._compare(variable, event, values, event, ())
        self._by_program = event

    def on_write_by_program(self, event: Event) -> None:
        """Check that the program writes the result of its sync to all components."""
        sync, self._by_program = self._by_program, None
        if sync is not None and sync.variable == event.variable:
            member = event.replica if sync.group else None
            same = (event.operation, event.replica, event.digest) == (
                "assign", member, sync.digest,
            )  # fmt: skip
            if not same or (sync.group and member not in sync.group):
                reason = "the program writes another value than the result of its sync"
                self.wrong(self.variable_of(event), reason, (sync.event, event.event))

    def on_return(self, event: Event) -> None:
        """Forget a sync that was not answered."""
        self._waits.pop(event.process, None)

    def on_raise(self, event: Event) -> None:
        """Forget a sync that was not answered."""
        self._waits.pop(event.process, None)

    def on_begin(self, event: Event) -> None:
        """Forget a sync of a call that has failed."""
        self._waits.pop(event.process, None)

    def on_finish(self, event: Event) -> None:
        """Forget the syncs of a call."""
        self._meetings = {key: one for key, one in self._meetings.items() if key[0] != event.call}

    def _compare(
        self,
        variable: ReplayedVariable,
        how: Event,
        values: Sequence[Flat | None],
        result: Event,
        because: Sequence[Event],
    ) -> None:
        who = seen_by(result)
        known = [value for value in values if value is not None]
        expected: Flat | None = None
        if how.operation == "broadcast":
            members = list(how.group or range(len(values)))
            expected = values[members.index(how.replica)] if how.replica in members else None
        elif len(known) == len(values):
            expected = _aggregate(str(how.operation), known)
        held = self.matches(expected, result)
        if held is None:
            self.unrecorded(variable, "not all values of a sync were recorded", result.event)
        elif not held:
            reason = f"{who} stores another value than the {how.operation} of the components"
            self.wrong(variable, reason, (*(one.event for one in because), result.event))


def _aggregate(operation: str, values: Sequence[Flat]) -> Flat | None:
    """Return the aggregate in replica order; None if the values cannot be combined."""
    op = operation.removeprefix("sync_").upper()
    parts = alike(values)
    if parts is None:
        return None
    given = {replica: [value] for replica, value in enumerate(parts)}
    arguments = {replica: {"op": op} for replica in given}
    found = combination.expected("all_reduce", given, arguments, len(values))
    return None if found is None else like(found[0][0], parts[0])
