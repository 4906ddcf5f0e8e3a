"""Replicas add to one copy in order of arrival, and none is more than s writes ahead."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.promises import Promise
from varsim.analysis.replay import Replay
from varsim.tracing.bounded import COPY, WAITS
from varsim.tracing.history import Event

_Key = tuple[int, int]
"""A variable and a replica."""

_Version = tuple[Flat | None, int]
"""The value of a version, None if it is unknown, and the event that made it."""


@dataclass(slots=True)
class _Copy:
    """The copy of a variable, as the program has it.

    There are several possible versions only after a call has failed while several messages arrived
    together: the record does not show which of them had an effect. The next read shows it.
    """

    versions: dict[int, _Version]  # the possible versions; none if nothing is known
    recent: dict[int, _Version] = field(default_factory=dict)  # before the last messages
    by_program: list[tuple[int, int]] = field(default_factory=list)  # event of a write → version


@dataclass(slots=True)
class _Clocks:
    """The writes of the replicas to one variable in one call."""

    arrived: list[int]
    applied: list[int]
    held: list[Event] = field(default_factory=list)  # in order of arrival

    def ahead(self, clock: int, running: set[int]) -> int:
        """Return by how many writes a replica at this clock is ahead of the slowest one."""
        return clock - min((self.arrived[i] for i in running), default=clock)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The copy at the time at which the program sends it to a replica."""

    call: int | None
    versions: Mapping[int, _Version]
    applied: Mapping[int, int]  # replica that still runs → its writes in the copy


@dataclass(slots=True)
class _Cache:
    """A replica's cache: a snapshot, and the replica's own writes since."""

    snapshot: _Snapshot
    version: int
    value: Flat | None
    made: int  # the event that made the version


class Bounded(Checker):
    """Recomputes the copies and the caches of variables with bounded staleness.

    A write takes effect when the program receives it. A write that would put its replica more than
    s writes ahead of the slowest running replica takes effect only when all running replicas have
    written often enough. A replica that has joined holds no other back; when all have joined, all
    numbers of writes begin again from 0. So the order of receipts determines every value of a copy.
    A replica may read its cache if the cache has the first c - s writes of each running replica,
    where c is the number of its own writes, and everything that the program had written before.
    """

    name = "bounded-staleness"
    promise = "no replica is more than s writes ahead, and reads see all writes that they must see"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._copies: dict[int, _Copy] = {}
        self._clocks: dict[tuple[int, int], _Clocks] = {}  # (call, variable)
        self._ended: defaultdict[int, set[int]] = defaultdict(set)  # call → replicas
        self._joined: defaultdict[int, set[int]] = defaultdict(set)  # call → replicas
        self._over: set[int] = set()  # calls that have failed
        self._coming: defaultdict[int, deque[Event]] = defaultdict(deque)  # not yet received
        self._sent: defaultdict[_Key, deque[_Snapshot]] = defaultdict(deque)  # to renew caches
        self._caches: dict[_Key, _Cache] = {}
        # (call, replica) → variable → the replica's writes in the call, which calls inside the
        # call do not change
        self._own: defaultdict[tuple[int | None, int], Counter[int]] = defaultdict(Counter)
        self._known: defaultdict[int, int] = defaultdict(int)  # replica → event of the program
        self.held_for: dict[int, int] = {}
        """The event of a write that had to wait → the slowest replica when it arrived."""
        self._last_receipt = -2  # the number of the program's last receipt

    def concerns(self, variable: int | None) -> bool:
        """Return True for variables with bounded staleness and for events without a variable."""
        promise = self.promise_about(variable)
        return promise is None or promise.bound is not None

    def on_create(self, event: Event) -> None:
        """Begin with the initial value, if the record begins with the run."""
        assert event.variable is not None
        value = arithmetic.elements_of(event, self._promise(event).dtype)
        known = {0: (value, event.event)} if self.replay.from_start else {}
        self._copies[event.variable] = _Copy(known)

    def on_forget(self, event: Event) -> None:
        """Drop a variable."""
        if event.variable is not None:
            self._copies.pop(event.variable, None)

    def copy_of(self, variable: int) -> Flat | None:
        """Return the copy of a variable as the program has it; None if it is unknown."""
        copy = self._copies.get(variable)
        if copy is None or len(copy.versions) != 1:
            return None
        ((value, _),) = copy.versions.values()
        return value

    def lacking(self, event: Event) -> int:
        """Return how many versions of the copy a read by a replica lacks at this time."""
        assert event.variable is not None
        cache = self._caches.get((event.variable, event.process))
        copy = self._copies.get(event.variable)
        if cache is None or copy is None or not copy.versions or event.call is None:
            return 0
        applied = self._clocks_of(event.call, event.variable).applied[event.process]
        own = applied - cache.snapshot.applied.get(event.process, applied)
        return max(0, max(copy.versions) - cache.version - own)

    def _promise(self, event: Event) -> Promise:
        assert event.variable is not None
        return self.replay.promises[event.variable]

    def _copy(self, event: Event) -> _Copy:
        assert event.variable is not None
        return self._copies.setdefault(event.variable, _Copy({}))

    # ------------------------------------------------------------ what replicas send

    def on_advance(self, event: Event) -> None:
        """Count a write of a replica, and apply it to the replica's cache."""
        assert event.variable is not None
        assert event.version is not None
        self._learn(event)
        self._coming[event.process].append(event)
        key = event.variable, event.process
        own = self._own[event.call, event.process]
        own[event.variable] += 1
        writes = own[event.variable]
        if event.version != writes and self.replay.from_start:
            reason = f"{seen_by(event)} numbers its write {writes} in the call as {event.version}"
            self.wrong(self.variable_of(event), reason, (event.event,))
        cache = self._caches.get(key)
        if event.note == WAITS:
            self._caches.pop(key, None)
        elif cache is not None:
            cache.value = self._changed(cache.value, event)

    def on_ask(self, event: Event) -> None:
        """Store a request until the program receives it."""
        if event.operation == COPY:
            self._learn(event)
            self._coming[event.process].append(event)

    def on_arrive(self, event: Event) -> None:
        """Store a join until the program receives it; then the writes are numbered from 1 again."""
        if event.operation == "join":
            self._coming[event.process].append(event)
            self._own.pop((event.call, event.process), None)

    def on_return(self, event: Event) -> None:
        """Store the end of a function until the program receives it."""
        self._coming[event.process].append(event)
        self._own.pop((event.call, event.process), None)

    on_raise = on_return

    def on_receive(self, event: Event) -> None:
        """Let the program act on what a replica has sent until the cause of this event."""
        assert event.replica is not None
        if event.number != self._last_receipt + 1:
            for copy in self._copies.values():
                copy.recent.clear()
        self._last_receipt = event.number
        coming = self._coming.get(event.replica)
        while coming and coming[0].event <= (event.cause or 0):
            self._take(coming.popleft())

    # ------------------------------------------------------------ what the program does

    def _take(self, event: Event) -> None:
        call = event.call
        if call is None or call in self._over:
            return
        if event.kind in {"return", "raise", "arrive"}:
            resting = self._joined if event.kind == "arrive" else self._ended
            resting[call].add(event.process)
            for of_call, variable in list(self._clocks):
                if of_call == call:
                    self._admit(call, variable)
            return
        assert event.variable is not None
        clocks = self._clocks_of(call, event.variable)
        if event.kind == "ask":
            self._send(event, clocks)
            return
        clocks.arrived[event.process] += 1
        clocks.held.append(event)
        bound = self._promise(event).bound
        assert bound is not None, "the checker concerns only such variables"
        ahead = clocks.ahead(clocks.arrived[event.process], self._running(call))
        if event.note != WAITS and ahead > bound:
            reason = f"{seen_by(event)} is {ahead} writes ahead of the slowest, and does not wait"
            self.wrong(self.variable_of(event), reason, (event.event,))
            clocks.held.remove(event)
            self._apply(event, clocks)
        self._admit(call, event.variable)
        if event in clocks.held:
            running = self._running(call)
            self.held_for[event.event] = min(running, key=lambda i: clocks.arrived[i])

    def _clocks_of(self, call: int, variable: int) -> _Clocks:
        clocks = self._clocks.get((call, variable))
        if clocks is None:
            zeros = [0] * self.replay.num_replicas
            clocks = self._clocks[call, variable] = _Clocks(zeros, [*zeros])
        return clocks

    def _running(self, call: int) -> set[int]:
        return {*self.replay.present(call)} - self._ended[call] - self._joined[call]

    def _admit(self, call: int, variable: int) -> None:
        """Apply the held writes that are not too far ahead, in order of arrival."""
        clocks = self._clocks[call, variable]
        bound, running = self.replay.promises[variable].bound, self._running(call)
        assert bound is not None, "the checker concerns only such variables"
        held, clocks.held = clocks.held, []
        applied = []
        for event in held:
            if clocks.ahead(event.version or 0, running) > bound:
                clocks.held.append(event)
            else:
                self._apply(event, clocks)
                applied.append(event)
        for event in applied:
            if event.note == WAITS:
                self._send(event, clocks)

    def _apply(self, event: Event, clocks: _Clocks) -> None:
        clocks.applied[event.process] += 1
        copy = self._copy(event)
        for version, one in copy.versions.items():
            copy.recent.setdefault(version, one)
        self._change(copy, event)

    def _change(self, copy: _Copy, event: Event) -> None:
        copy.versions = {
            version + 1: (self._changed(value, event), event.event)
            for version, (value, _) in copy.versions.items()
        }

    def _changed(self, before: Flat | None, event: Event) -> Flat | None:
        """Return a value after a write; of a mean, a replica adds a part of its operand."""
        promise = self._promise(event)
        operand = arithmetic.elements_of(event, promise.dtype)
        if operand is None or (before is None and event.operation != "assign"):
            return None
        if before is None:
            return operand
        if promise.aggregation == "MEAN" and event.kind == "advance":
            operand = np.divide(operand, np.asarray(self.replay.num_replicas).astype(promise.dtype))
        return arithmetic.updated(before, event.operation, operand)

    def _send(self, event: Event, clocks: _Clocks) -> None:
        """Store the copy that a replica must get now."""
        assert event.variable is not None
        assert event.call is not None
        copy, running = self._copy(event), self._running(event.call)
        applied = {i: clocks.applied[i] for i in running}
        snapshot = _Snapshot(event.call, copy.versions, applied)
        self._sent[event.variable, event.process].append(snapshot)

    def on_write_by_program(self, event: Event) -> None:
        """Change the copy."""
        copy = self._copy(event)
        self._change(copy, event)
        if copy.versions:
            copy.by_program.append((event.event, min(copy.versions)))

    def on_abort(self, event: Event) -> None:
        """End a call that has failed: the writes that are held have no effect."""
        if event.call is not None:
            self._over.add(event.call)
            self._drop(event.call)
            for copy in self._copies.values():
                copy.versions = {**copy.recent, **copy.versions}

    def on_finish(self, event: Event) -> None:
        """End a call."""
        if event.call is not None:
            self._drop(event.call)
            self._over.add(event.call)

    def on_answer(self, event: Event) -> None:
        """Count the writes of all replicas from 0 again, because all have joined."""
        if event.operation == "joined" and event.call is not None:
            self._drop_clocks(event.call)

    def _drop(self, call: int) -> None:
        self._ended.pop(call, None)
        self._drop_clocks(call)

    def _drop_clocks(self, call: int) -> None:
        self._joined.pop(call, None)
        for key in [key for key in self._clocks if key[0] == call]:
            del self._clocks[key]

    # ------------------------------------------------------------ what is seen

    def _learn(self, event: Event) -> None:
        """Record what a replica knows of the program's events."""
        if event.cause is not None:
            self._known[event.process] = max(self._known[event.process], event.cause)

    def on_renew(self, event: Event) -> None:
        """Compare a copy that a replica gets with the copy that the program must have sent."""
        assert event.variable is not None
        self._learn(event)
        key, variable = (event.variable, event.process), self.variable_of(event)
        sent = self._sent.get(key)
        if not sent:
            if self.replay.from_start:
                reason = (
                    f"{seen_by(event)} gets the copy, although its request has not arrived, or its "
                    "write must still wait for slower replicas"
                )
                self.wrong(variable, reason, (event.event,))
            return
        snapshot = sent.popleft()
        self._compare(event, snapshot.versions)
        assert event.version is not None
        value, made = snapshot.versions.get(event.version, (None, event.event))
        if value is None:  # it was not recorded; take what is shown
            value = arithmetic.elements_of(event, variable.promise.dtype)
        self._caches[key] = _Cache(snapshot, event.version, value, made)

    def on_read_by_replica(self, event: Event) -> None:
        """Check that a replica reads its cache, and that the cache is fresh enough."""
        assert event.variable is not None
        self._learn(event)
        key, variable = (event.variable, event.process), self.variable_of(event)
        cache = self._caches.get(key)
        if cache is None or cache.snapshot.call != event.call:
            if self.replay.from_start:
                reason = f"{seen_by(event)} reads a cache that it has not renewed in this call"
                self.wrong(variable, reason, (event.event,))
            return
        self._compare(event, {cache.version: (cache.value, cache.made)})
        bound = variable.promise.bound
        assert bound is not None, "the checker concerns only such variables"
        clock = self._own[event.call, event.process][event.variable]
        for other, seen in cache.snapshot.applied.items():
            if other != event.process and seen < clock - bound:
                reason = (
                    f"{seen_by(event)} reads after {clock} writes, and its cache has only {seen} "
                    f"writes of replica {other} instead of {clock - bound}"
                )
                self.wrong(variable, reason, (cache.made, event.event))
        known = self._known[event.process]
        must = [one for one in self._copy(event).by_program if one[0] <= known]
        if must and cache.version < must[-1][1]:
            reason = f"{seen_by(event)} reads a cache without a write of the program"
            self.wrong(variable, reason, (must[-1][0], event.event))

    def on_read_by_program(self, event: Event) -> None:
        """Check that the program reads the copy."""
        assert event.version is not None
        copy = self._copy(event)
        if not copy.versions:
            value = arithmetic.elements_of(event, self._promise(event).dtype)
            copy.versions = {event.version: (value, event.event)}
            return
        self._compare(event, copy.versions)
        if event.version in copy.versions:
            copy.versions = {event.version: copy.versions[event.version]}
            copy.recent.clear()

    def _compare(self, event: Event, versions: Mapping[int, _Version]) -> None:
        """Check that an event shows one of the possible versions."""
        assert event.version is not None
        variable, who, version = self.variable_of(event), seen_by(event), event.version
        if version not in versions:
            if versions:
                expected = " or ".join(map(str, sorted(versions)))
                reason = f"{who} has version {version} of the copy instead of {expected}"
                proof = (*(made for _, made in versions.values()), event.event)
                self.wrong(variable, reason, proof)
                return
            self.undecided(variable, "the copy was not recorded from the beginning", event.event)
            return
        value, made = versions[version]
        same = self.matches(value, event)
        if same is None:
            self.unrecorded(variable, "not all values of the copy were recorded", event.event)
        elif not same:
            reason = f"{who} has another value than the sum of the writes until version {version}"
            self.wrong(variable, reason, (made, event.event))
