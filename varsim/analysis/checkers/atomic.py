"""Every call is atomic: all its replicas, or all members, take part in a collective, or none."""

from __future__ import annotations

from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.components import ReplayedVariable
from varsim.analysis.open_writes import Change, ReplayedMerge
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event


class Atomic(Checker):
    """Checks that a merge has one contribution from each replica, and one commit for each replica.

    Replicas that have joined, before the call or during it, give no values: only the other replicas
    contribute. After a call is aborted, none of its writes may be committed.
    """

    name = "atomic"
    promise = "every call is atomic"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._aborts: dict[int, int] = {}  # call → event
        # call → process and members of the collective → its last position, and the event
        self._last: dict[int, dict[tuple[int, str | None], tuple[int, int]]] = {}
        # call → members and position → arrivals
        self._arrived: dict[int, dict[tuple[str | None, int], list[Event]]] = {}
        self._running: dict[int, dict[int, Event]] = {}  # call → replica → its begin or return
        self._failed: list[int] = []  # failed calls since the last begin of a call

    def on_write_by_replica(self, event: Event) -> None:
        """Check that a replica contributes to a merge only once."""
        if event.position is None:
            return
        variable = self.variables[event.variable]
        if event.call is None:
            self.wrong(variable, "a contribution belongs to no call", (event.event,))
            return
        if variable.promise.apart:
            reason = f"{seen_by(event)} contributes to a variable that is not merged"
            self.wrong(variable, reason, (event.event,))
        before = self.replay.merges.known(event)
        if before:
            reason = f"{seen_by(event)} contributes again to a merge"
            self.wrong(variable, reason, (*before, event.event))
        self.on_arrive(event)

    def on_arrive(self, event: Event) -> None:
        """Check that the positions of a replica in a call, and in a group, increase."""
        if event.position is None or event.call is None:
            return
        last = self._last.setdefault(event.call, {})
        mine = event.process, event.members
        position, before = last.get(mine, (-1, 0))
        if event.position <= position:
            variable = None if event.variable is None else self.variable_of(event)
            reason = f"{seen_by(event)} arrives at position {event.position} after {position}"
            self.wrong(variable, reason, (before, event.event))
        last[mine] = event.position, event.event
        join = self.replay.joined(event).get(event.process, event)
        if join.event != event.event:
            reason = f"{seen_by(event)} arrives at a collective although it has joined"
            self.wrong(None, reason, (join.event, event.event))
        if event.kind == "arrive":
            arrived = self._arrived.setdefault(event.call, {})
            arrived.setdefault((event.members, event.position), []).append(event)

    def on_answer(self, event: Event) -> None:
        """Check that all replicas that take part have arrived, and that the program knows this."""
        if event.call is None or event.position is None or not self.replay.from_start:
            return
        came = self._arrived.get(event.call, {}).pop((event.members, event.position), [])
        if event.operation == "joined":
            self._check_rejoined(event)
            return
        joins = self.replay.joined(event).values()
        if joins and event.operation == "merged":
            reason = "a merge_call is answered although a replica has joined"
            self.wrong(None, reason, (*(one.event for one in joins), event.event))
        known = {one.process for one in (*came, *joins) if self.replay.may_know(one)}
        if len(known) < len(self.replay.members(event)):
            everyone = "members" if event.group else "replicas"
            reason = f"a collective is answered before all {everyone} have arrived"
            self.wrong(None, reason, (*(one.event for one in came), event.event))

    def _check_rejoined(self, event: Event) -> None:
        """Check that all replicas have joined, and what the answer says about them."""
        joins = self.replay.rejoined
        proof = (*(one.event for one in joins.values()), event.event)
        known = [one for one in joins.values() if self.replay.may_know(one)]
        if len(known) < len(self.replay.members(event)):
            self.wrong(None, "a join ends before all replicas have joined", proof)
            return
        position, last = max((one.position or 0, one.process) for one in known)
        if (event.position, event.note) != (position, str(last)):
            reason = (
                f"a join ends at position {event.position} and names replica {event.note}, where "
                f"replica {last} took part in most collectives, up to position {position}"
            )
            self.wrong(None, reason, proof)

    def on_call(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        """Drop what is known of failed calls, after which nothing of them is sent."""
        for call in self._failed:
            for known in (self._arrived, self._running, self._last):
                known.pop(call, None)
        self._failed.clear()

    def on_begin(self, event: Event) -> None:
        """Record that a replica runs a call, and check that it takes part in the call."""
        if event.process not in self.replay.present(event.call):
            reason = f"{seen_by(event)} runs a call in which it takes no part"
            self.wrong(None, reason, (event.cause or 0, event.event))
        self._running.setdefault(event.call or 0, {})[event.process] = event

    def on_return(self, event: Event) -> None:
        """Record that the function of a replica has returned."""
        self._running.setdefault(event.call or 0, {})[event.process] = event

    def on_abort(self, event: Event) -> None:
        """Record that later commits must not belong to the call."""
        assert event.call is not None
        self._aborts.setdefault(event.call, event.event)

    def on_finish(self, event: Event) -> None:
        """Check that all replicas have returned, unless the call has failed."""
        if event.note is not None:  # what was decided before the failure can be sent after it
            self._failed.append(event.call or 0)
            return
        self._arrived.pop(event.call or 0, None)
        running = self._running.pop(event.call or 0, {})
        for one in running.values():
            if one.kind != "return" or not self.replay.may_know(one):
                reason = f"a call has ended before {seen_by(one)} has returned"
                self.wrong(None, reason, (one.event, event.event))
        self._last.pop(event.call or 0, None)

    def on_commit(self, event: Event) -> None:
        """Check that the present replicas contributed to one variable, with one operation."""
        change, variable = self.replay.change, self.variable_of(event)
        if event.call in self._aborts:
            proof = (self._aborts[event.call or 0], event.event)
            self.wrong(variable, "a commit belongs to an aborted call", proof)
        if change is None:
            return
        if change.merge is not None:
            self._check_merge(variable, event, change, change.merge)
        elif event.call is None or variable.promise.deferred:
            return
        elif self.replay.from_start:  # otherwise the merge may have begun before the record
            self.wrong(variable, "a commit of a call belongs to no merge", (event.event,))

    def _check_merge(
        self, variable: ReplayedVariable, event: Event, change: Change, merge: ReplayedMerge
    ) -> None:
        earlier = {one for i, one in merge.served.items() if one != event.event}
        if earlier and (not merge.writes or not change.components):
            reason = "a merge was committed twice"
            self.wrong(variable, reason, (*earlier, event.event))
            return
        writes = merge.writes.values()
        present = self.replay.givers(event)
        if len(writes) < len(present) and self.replay.from_start:
            reason = f"a commit has {len(writes)} of {len(present)} contributions"
            self.wrong(variable, reason, (*(write.event for write in writes), event.event))
        for write in writes:
            if not self.replay.may_know(write):
                reason = f"a commit has a write of {seen_by(write)} that has not arrived yet"
                self.wrong(variable, reason, (write.event, event.event))
            if write.variable != event.variable:
                reason = "a write to another variable is in a commit"
                self.wrong(variable, reason, (write.event, event.event))
        if len({write.operation for write in writes}) > 1:
            proof = (*(write.event for write in writes), event.event)
            self.wrong(variable, "replicas used different operations in one merge", proof)

    def on_install(self, event: Event) -> None:
        """Check that the commit was sent to this replica, and is installed only once."""
        assert self.replay.installed is not None
        _, change = self.replay.installed
        if change is not None:
            if change.installed is None:
                change.installed = event.event
        elif self.replay.from_start:
            reason = f"{seen_by(event)} installs a commit that was not sent to it"
            proof = (event.cause or 0, event.event)
            self.wrong(self.variable_of(event), reason, proof)

    def end(self) -> None:
        """Report commits that had not reached all replicas when the record ended."""
        for replica, change in self.replay.in_flight.left():
            if change.installed is not None and replica not in self.replay.cut_short:
                self.undecided(
                    self.variable_of(change.event),
                    f"version {change.event.version} had not reached replica {replica} when the "
                    "record ended",
                    change.event.event,
                    change.installed,
                )
