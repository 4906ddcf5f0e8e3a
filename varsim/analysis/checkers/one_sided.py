"""A pull shows a prefix of the pushes in order of arrival; a fetch shows what was published."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.replay import Replay
from varsim.tracing.history import PROGRAM, Event

_Key = tuple[int, int]
"""A variable and the owner of a published component; the program "owns" the authoritative copy."""


@dataclass(slots=True)
class _Versions:
    """The versions of one shared value that a reader can still obtain."""

    first: int  # the number of the first version in `values`
    values: deque[Flat | None]  # None if the value is not known
    events: deque[int] = field(default_factory=deque)  # the events that made these versions
    wanted: dict[int, int] = field(default_factory=dict)  # reader → the version when it asked

    @property
    def last(self) -> int:
        """Return the number of the latest version."""
        return self.first + len(self.values) - 1

    def add(self, value: Flat | None, event: int) -> None:
        """Add a version, and drop the versions that no reader can obtain any more."""
        self.values.append(value)
        self.events.append(event)
        needed = min(self.wanted.values(), default=self.last)
        while self.first < needed:
            self.values.popleft()
            self.events.popleft()
            self.first += 1


class OneSided(Checker):
    """Recomputes authoritative copies and published components, and compares what was read.

    A push or a publication of a replica takes effect when the program receives it.
    """

    name = "one-sided"
    compares = "shared value"
    promise = "a pull shows the pushes in order of arrival, and a fetch shows what was published"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._shared: dict[_Key, _Versions] = {}
        self._coming: defaultdict[int, deque[Event]] = defaultdict(deque)  # not yet received

    def on_create(self, event: Event) -> None:
        """Begin with the initial value, which is version 0."""
        assert event.variable is not None
        if not self.replay.from_start:
            return
        value = arithmetic.elements_of(event, self.replay.promises[event.variable].dtype)
        for owner in (PROGRAM, *self.replay.replicas):
            self._begin((event.variable, owner), 0, value, event.event)

    def on_carry(self, event: Event) -> None:
        """Begin with a value of an earlier incarnation."""
        assert event.variable is not None
        owner = PROGRAM if event.replica is None else event.replica
        value = arithmetic.elements_of(event, self.replay.promises[event.variable].dtype)
        self._begin((event.variable, owner), event.version or 0, value, event.event)

    def _begin(self, key: _Key, version: int, value: Flat | None, event: int) -> None:
        self._shared[key] = _Versions(version, deque([value]), deque([event]))

    def on_forget(self, event: Event) -> None:
        """Drop a variable."""
        assert event.variable is not None
        for owner in (PROGRAM, *self.replay.replicas):
            self._shared.pop((event.variable, owner), None)

    def copy_of(self, variable: int) -> Flat | None:
        """Return the authoritative copy of a variable as the program has it; None if unknown."""
        shared = self._shared.get((variable, PROGRAM))
        return None if shared is None else shared.values[-1]

    # ------------------------------------------------------------ changes

    def on_write_by_program(self, event: Event) -> None:
        """Apply a write of the program to all components, if it also changes the copy."""
        assert event.variable is not None
        promise = self.replay.promises[event.variable]
        shared = self._shared.get((event.variable, PROGRAM))
        if not promise.copy or event.replica is not None or shared is None:
            return
        before, operand = shared.values[-1], promise.operand_of(event)
        after = None
        if before is not None and operand is not None:
            after = arithmetic.updated(before, event.operation, operand)
        shared.add(after, event.event)

    def on_read_by_program(self, event: Event) -> None:
        """Check that the program reads the authoritative copy, if its policy promises this.

        If the policy computes merges, these may change the copy, and its own checker knows it.
        """
        assert event.variable is not None
        promise = self.replay.promises[event.variable]
        if not promise.copy or promise.exchanged or event.replica is not None:
            return
        copy, variable = self.copy_of(event.variable), self.variable_of(event)
        held = self.matches(copy, event)
        if held is None:
            self.unrecorded(variable, "not all shared values were recorded", event.event)
        elif not held:
            shared = self._shared[event.variable, PROGRAM]
            reason = "the value that the program read is not the authoritative copy"
            self.wrong(variable, reason, (*shared.events, event.event))

    def on_push_by_program(self, event: Event) -> None:
        """Apply a push of the program, which takes effect at once."""
        self._apply(event)

    def on_push_by_replica(self, event: Event) -> None:
        """Store a push until the program receives it."""
        self._coming[event.process].append(event)

    def on_publish(self, event: Event) -> None:
        """Check that a replica publishes its component; store it until the program receives it."""
        expected = self.own(event).value
        held = self.matches(expected, event)
        if held is None:
            self.unrecorded(self.variable_of(event), "a publication was not recorded", event.event)
        elif not held:
            reason = f"{seen_by(event)} publishes another value than its component"
            proof = (event.event, *self.own(event).because())
            self.wrong(self.variable_of(event), reason, proof)
        self._coming[event.process].append(event)

    def on_ask(self, event: Event) -> None:
        """Store a request until the program receives it."""
        self._coming[event.process].append(event)

    def on_receive(self, event: Event) -> None:
        """Apply what a replica has sent until the cause of this event."""
        assert event.replica is not None
        coming = self._coming.get(event.replica)
        while coming and coming[0].event <= (event.cause or 0):
            self._apply(coming.popleft())

    def _apply(self, event: Event) -> None:
        assert event.variable is not None
        owner = event.process if event.kind == "publish" else PROGRAM
        if event.kind == "ask" and event.replica is not None:
            owner = event.replica
        shared = self._shared.get((event.variable, owner))
        if shared is None:
            return  # the variable was dropped, or was created before the record began
        dtype = self.replay.promises[event.variable].dtype
        if event.kind == "ask":
            shared.wanted[event.process] = shared.last
        elif event.kind == "publish":
            shared.add(arithmetic.elements_of(event, dtype), event.event)
        else:
            before, delta = shared.values[-1], arithmetic.elements_of(event, dtype)
            after = None
            if before is not None and delta is not None:
                after = arithmetic.updated(before, "assign_add", delta)
            shared.add(after, event.event)

    # ------------------------------------------------------------ reads

    def on_obtain(self, event: Event) -> None:
        """Compare the value that a process has read with the value of this version."""
        assert event.variable is not None
        assert event.version is not None
        owner = PROGRAM if event.replica is None else event.replica
        shared, variable = self._shared.get((event.variable, owner)), self.variable_of(event)
        if shared is None:
            reason = "what is shared of it was not recorded from its creation on"
            self.undecided(variable, reason, event.event)
            return
        what = f"{seen_by(event)} obtains version {event.version}"
        least = shared.last if event.process == PROGRAM else shared.wanted.pop(event.process, None)
        if least is None:
            self.wrong(variable, f"{what}, but the program got no request", (event.event,))
        elif event.version > shared.last:
            reason = f"{what}, but only {shared.last} had arrived"
            self.wrong(variable, reason, (*shared.events, event.event))
        elif event.version < least:
            reason = f"{what}, but {least} had arrived before its request"
            self.wrong(variable, reason, (*shared.events, event.event))
        else:
            index = event.version - shared.first
            expected = shared.values[index]
            held = self.matches(expected, event)
            if held is None:
                self.unrecorded(variable, "not all shared values were recorded", event.event)
            elif not held:
                reason = f"{what} with another value"
                self.wrong(variable, reason, (shared.events[index], event.event))
