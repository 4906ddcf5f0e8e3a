"""Replay a history: compute every component from the recorded writes and commits alone.

Each component has two states. The replica's state changes when a commit is installed; the program's
state changes when the commit is made. Operations are dropped when they end, so a long history needs
no more memory than a short one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat, FlatOperand
from varsim.analysis.observer import EventObserver, Take
from varsim.analysis.presence import Presence
from varsim.analysis.promises import Promise
from varsim.spec import Rows
from varsim.tracing.history import Event

Why = tuple[int, "Why | None"]
"""The last event that led to a value, and the earlier events; None without earlier events."""


class ComponentState:
    """One state of one component; replicas with equal components share this object."""

    __slots__ = ("lineage", "made", "value", "version", "why")

    def __init__(
        self, version: int | None, value: Flat | None, lineage: int, made: int, why: Why
    ) -> None:
        self.version = version  # None if unknown
        self.value = value  # None if unknown
        self.lineage = lineage  # a number; equal for components with the same writes
        self.made = made  # the event that made the version
        self.why = why  # the events that produced the value

    def prove(self, event: int) -> None:
        """Record that an event showed the value, so that a proof needs no earlier event."""
        self.why = (event, None)

    def because(self) -> Iterator[int]:
        """Yield the events that led to the value, latest first."""
        why: Why | None = self.why
        while why is not None:
            event, why = why
            yield event


class ReplayedVariable:
    """All components of one variable."""

    __slots__ = ("answers", "at_program", "at_replica", "number", "promise")

    def __init__(self, number: int, promise: Promise, components: list[ComponentState]) -> None:
        self.number = number
        self.promise = promise
        self.at_replica = components
        self.at_program = [*components]
        self.answers: dict[int, Event] = {}  # components that the program has just fetched

    @property
    def version(self) -> int | None:
        """Return the version of a read of all components: the latest of their versions."""
        known = [one.version for one in self.at_program if one.version is not None]
        return max(known) if len(known) == len(self.at_program) else None


class ReplayedVariables(dict[int | None, ReplayedVariable]):
    """The variables of a history, by number.

    A variable that was created before the record began is added at its first use.
    """

    def __init__(self, num_replicas: int, promises: Mapping[int, Promise]) -> None:
        super().__init__()
        self._num_replicas = num_replicas
        self._promises = promises

    def __missing__(self, number: int | None) -> ReplayedVariable:
        assert number is not None, "rows that make no sense are not replayed"
        lineages = range(-2, -2 - self._num_replicas, -1)  # hash(-1) == hash(-2), so skip -1
        everything = [ComponentState(None, None, one, 0, (0, None)) for one in lineages]
        found = self[number] = ReplayedVariable(number, self._promises[number], everything)
        return found


# ---------------------------------------------------------------- open calls and writes


class ReplayedMerge:
    """The contributions to one merge."""

    __slots__ = ("served", "writes")

    def __init__(self) -> None:
        self.writes: dict[int, Event] = {}  # replica → its contribution
        self.served: dict[int, int] = {}  # replica → the commit that changed its component


class PendingWrite:
    """One write by the program, and the components that the write has not changed yet."""

    __slots__ = ("event", "remaining")

    def __init__(self, event: Event, num_replicas: int) -> None:
        self.event = event
        replicas = range(num_replicas) if event.replica is None else (event.replica,)
        self.remaining = set(replicas)


class Change:
    """The effect of one commit."""

    __slots__ = ("components", "event", "installed", "merge", "write")

    def __init__(
        self, event: Event, merge: ReplayedMerge | None, write: PendingWrite | None
    ) -> None:
        self.event = event
        self.merge = merge  # the merge that the commit ends
        self.write = write  # the program's write, if the commit belongs to such a write
        # replica → its component before and after the commit
        self.components: dict[int, tuple[ComponentState, ComponentState]] = {}
        self.installed: int | None = None  # the first event in which a replica installed the commit


class OpenMerges:
    """The merges of all calls that have not ended."""

    def __init__(self) -> None:
        # call → position → the merge; for an ended merge, the event of its commit
        self._calls: dict[int, dict[int, ReplayedMerge | int]] = {}

    def write(self, event: Event) -> None:
        """Add a contribution."""
        assert event.call is not None
        assert event.position is not None
        merges = self._calls.setdefault(event.call, {})
        merge = merges.get(event.position)
        if merge is None:
            merge = merges[event.position] = ReplayedMerge()
        if isinstance(merge, ReplayedMerge) and event.process not in merge.writes:
            merge.writes[event.process] = event

    def known(self, event: Event) -> tuple[int, ...]:
        """Return the earlier event that proves that a contribution is too late, or repeated.

        Return () if the contribution is neither.
        """
        merge = self._calls.get(event.call or 0, {}).get(event.position or 0)
        if isinstance(merge, int):
            return (merge,)
        if merge is None or event.process not in merge.writes:
            return ()
        first = merge.writes[event.process].event
        return () if first == event.event else (first,)

    def commit(self, event: Event) -> ReplayedMerge:
        """Return the merge that the commit ends."""
        assert event.call is not None
        assert event.position is not None
        merge = self._calls.get(event.call, {}).get(event.position)
        if isinstance(merge, int):
            ended = ReplayedMerge()
            ended.served[event.process] = merge
            return ended
        return merge or ReplayedMerge()

    def served(self, change: Change) -> None:
        """Record that a merge was committed to some components."""
        merge, event = change.merge, change.event
        if merge is None or not merge.writes:
            return
        assert event.call is not None
        assert event.position is not None
        merge.served.update(dict.fromkeys(change.components, event.event))
        if len(merge.served) >= len(merge.writes):
            self._calls[event.call][event.position] = event.event

    def end(self, call: int | None) -> Iterator[ReplayedMerge]:
        """End a call, and yield those of its merges that have no commit."""
        if call is not None:
            for merge in self._calls.pop(call, {}).values():
                if isinstance(merge, ReplayedMerge) and not merge.served:
                    yield merge


class PendingWrites:
    """The program's own writes that are not committed yet."""

    def __init__(self) -> None:
        self._writes: defaultdict[int, deque[PendingWrite]] = defaultdict(deque)

    def write(self, event: Event, num_replicas: int) -> None:
        """Add a write."""
        assert event.variable is not None
        self._writes[event.variable].append(PendingWrite(event, num_replicas))

    def commit(self, event: Event) -> PendingWrite | None:
        """Return the write that the commit belongs to."""
        assert event.variable is not None
        for written in self._writes.get(event.variable, ()):
            to_all = event.replica is None and written.event.replica is None
            if to_all or event.replica in written.remaining:
                return written
        return None

    def served(self, change: Change) -> None:
        """Record that a write was committed to some components."""
        written, number = change.write, change.event.variable
        assert written is not None
        assert number is not None
        written.remaining -= change.components.keys()
        writes = self._writes[number]
        while writes and not writes[0].remaining:
            writes.popleft()

    def waiting(self, number: int) -> Event | None:
        """Return the first uncommitted write to a variable."""
        writes = self._writes.get(number)
        return writes[0].event if writes else None

    def left(self) -> Iterator[PendingWrite]:
        """Yield all uncommitted writes."""
        for writes in self._writes.values():
            yield from writes

    def forget(self, number: int) -> None:
        """Drop a variable."""
        self._writes.pop(number, None)


class CommitsInFlight:
    """Commits in transit to replicas."""

    def __init__(self, num_replicas: int) -> None:
        self._by_replica: list[dict[tuple[int, int], Change]] = [{} for _ in range(num_replicas)]
        self._by_variable: defaultdict[tuple[int, int], deque[Change]] = defaultdict(deque)

    def add(self, change: Change) -> None:
        """Send a commit to the replicas whose components it changes."""
        number = change.event.variable
        assert number is not None
        for replica in change.components:
            self._by_replica[replica][change.event.event, number] = change
            self._by_variable[number, replica].append(change)

    def of(self, number: int, replica: int) -> deque[Change]:
        """Return the commits in transit to one component, in the order sent."""
        return self._by_variable[number, replica]

    def take(self, event: Event) -> Change | None:
        """Return the commit that a replica installs; drop this commit and all earlier ones."""
        assert event.variable is not None
        assert event.cause is not None
        mine = self._by_replica[event.process]
        change = mine.get((event.cause, event.variable))
        if change is None:
            return None
        coming = self._by_variable[event.variable, event.process]
        while coming:
            first = coming.popleft()
            mine.pop((first.event.event, event.variable), None)
            if first is change:
                break
        return change

    def oldest(self, replica: int) -> Change | None:
        """Return the first commit that a replica has not installed."""
        return next(iter(self._by_replica[replica].values()), None)

    def left(self) -> Iterator[tuple[int, Change]]:
        """Yield all commits that have not arrived, each with its replica."""
        for replica, changes in enumerate(self._by_replica):
            for change in changes.values():
                yield replica, change

    def forget(self, number: int) -> None:
        """Drop a variable."""
        for replica, changes in enumerate(self._by_replica):
            for change in self._by_variable.pop((number, replica), ()):
                changes.pop((change.event.event, number), None)


# ---------------------------------------------------------------- the replay


class Replay(EventObserver):
    """Replays a history; before each event, the replay has the values that the event must show."""

    def __init__(
        self, num_replicas: int, promises: Mapping[int, Promise], *, from_start: bool = True
    ) -> None:
        self.num_replicas: Final = num_replicas
        self.replicas: Final = range(num_replicas)
        self.from_start: Final = from_start
        """Whether the record begins with the run. If not, a value is unknown until it is shown."""
        self.promises: Final = promises
        self.variables: Final = ReplayedVariables(num_replicas, promises)
        self.merges = OpenMerges()
        self.program_writes = PendingWrites()
        self.in_flight = CommitsInFlight(num_replicas)
        self.change: Change | None = None
        """The effect of the last commit."""
        self.installed: tuple[ComponentState, Change | None] | None = None
        """The last install: the replica's component before the install, and the commit."""
        self.left: list[ReplayedMerge] = []
        """The uncommitted merges of the last ended call."""
        self._presence = Presence(num_replicas)
        self.present = self._presence.of
        self.members = self._presence.members
        self.joined = self._presence.joined
        self.givers = self._presence.givers
        self.at_barrier = self._presence.at_barrier
        self.on_call = self._presence.on_call
        self.on_arrive = self._presence.on_arrive
        self.on_answer = self._presence.on_answer
        self._answered: set[int] = set()  # variables with fetched components
        self._known = [0] * num_replicas  # for each replica, its last event that the program knows

    @property
    def rejoined(self) -> Mapping[int, Event]:
        """Return the joins that the last answer has ended; see `Presence.rejoined`."""
        return self._presence.rejoined

    # ------------------------------------------------------------ changes of components

    def concerns(self, variable: int | None) -> bool:
        """Return whether commits and local writes change the components of a variable."""
        return variable is None or self.promises[variable].bound is None

    def on_create(self, event: Event) -> None:
        """Create a variable with equal components."""
        number = event.variable
        assert number is not None, "rows that make no sense are not replayed"
        promise = self.promises[number]
        value = arithmetic.value_of(event, promise.dtype) if self.from_start else None
        version = event.version if self.from_start else None
        one = ComponentState(version, value, event.event, event.event, (event.event, None))
        self.variables[number] = ReplayedVariable(number, promise, [one] * self.num_replicas)

    def on_forget(self, event: Event) -> None:
        """Drop a variable."""
        assert event.variable is not None
        self.variables.pop(event.variable, None)
        self.program_writes.forget(event.variable)
        self.in_flight.forget(event.variable)

    def on_write_by_program(self, event: Event) -> None:
        """Store a write of the program; commits apply it."""
        self.program_writes.write(event, self.num_replicas)

    def on_write_by_replica(self, event: Event) -> None:
        """Store a contribution, or apply a local write of a replica."""
        if event.position is not None and event.call is not None:
            self.merges.write(event)
            return
        variable = self.variables[event.variable]
        operand = arithmetic.operand_of(event, variable.promise.dtype)
        replica = event.process
        before, known = variable.at_replica[replica], variable.at_program[replica]
        after = _after(before, event, operand)
        variable.at_replica[replica] = after
        variable.at_program[replica] = after if known is before else _after(known, event, operand)

    def on_commit(self, event: Event) -> None:
        """Make a new version of some components."""
        variable = self.variables[event.variable]
        merge, write = None, None
        if event.position is not None and event.call is not None:
            merge = self.merges.commit(event)
        else:
            write = self.program_writes.commit(event)
        change = self.change = Change(event, merge, write)
        remaining = self._remaining(event, change)
        operand = arithmetic.operand_of(event, variable.promise.dtype)
        held = variable.at_program
        if held.count(held[0]) == len(held) == len(remaining):  # the usual case: all equal
            before = held[0]
            after = _committed(before, event, operand)
            change.components = dict.fromkeys(remaining, (before, after))
            variable.at_program = [after] * len(held)
        else:
            fits = [i for i in remaining if _follows(held[i], event.version)]
            shared: dict[int, ComponentState] = {}  # id of a state → the new state
            for replica in fits or remaining:
                before = held[replica]
                if id(before) not in shared:
                    shared[id(before)] = _committed(before, event, operand)
                change.components[replica] = before, shared[id(before)]
                held[replica] = shared[id(before)]
        self.merges.served(change) if write is None else self.program_writes.served(change)
        self.in_flight.add(change)

    def _remaining(self, event: Event, change: Change) -> Sequence[int]:
        """Return the components that the commit may change."""
        if event.replica is not None:
            return [event.replica]
        if change.write is not None:
            return sorted(change.write.remaining) or self.replicas
        if change.merge is not None and change.merge.served:
            return sorted(set(self.replicas) - change.merge.served.keys())
        return self.replicas

    def on_install(self, event: Event) -> None:
        """Apply a commit at a replica."""
        variable = self.variables[event.variable]
        replica = event.process
        before = variable.at_replica[replica]
        change = self.in_flight.take(event)
        self.installed = before, change
        if change is not None and change.components[replica][0] is before:
            variable.at_replica[replica] = change.components[replica][1]
            return
        operand = None
        if change is not None:
            operand = arithmetic.operand_of(change.event, variable.promise.dtype)
        after = _after(before, event if change is None else change.event, operand)
        after.version, after.made = event.version, event.event
        variable.at_replica[replica] = after
        if not self.in_flight.of(variable.number, replica):
            # No commit is in transit: the program cannot know more than the replica.
            after.value = None if change is None else after.value
            variable.at_program[replica] = after

    def on_finish(self, event: Event) -> None:
        """End a call."""
        self._presence.on_finish(event)
        self.left = list(self.merges.end(event.call))

    # ------------------------------------------------------------ fetches by the program

    def on_receive(self, event: Event) -> None:
        """Record that the program knows a replica's events up to the cause of this event."""
        if event.replica is not None and event.cause is not None:
            self._known[event.replica] = max(self._known[event.replica], event.cause)

    def may_know(self, event: Event) -> bool:
        """Return whether the program can know a replica's event."""
        return event.event <= self._known[event.process] or not self.from_start

    def on_component(self, event: Event) -> None:
        """Store a component that a replica sends to the program."""
        variable = self.variables[event.variable]
        variable.answers[event.process] = event
        self._answered.add(variable.number)

    def moves_on(self) -> None:
        """Drop the fetched components, because the program now does something else."""
        for number in self._answered:
            if number in self.variables:
                self.variables[number].answers.clear()
        self._answered.clear()


class MovesOn(EventObserver):
    """Drops the fetched components when the program does something other than fetching.

    This observer gets each event after the checkers.
    """

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def taker(self, kind: str, *, by_program: bool) -> Take | None:
        """Return the method for all events of the program except fetches and receipts."""
        return self._take if by_program and kind not in {"fetch", "receive"} else None

    def _take(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        self._replay.moves_on()


def _after(before: ComponentState, event: Event, operand: FlatOperand | None) -> ComponentState:
    """Return a component after a write or a commit."""
    if event.operation == "assign":
        value = None if isinstance(operand, Rows) else operand  # an assign has no rows
        return ComponentState(before.version, value, event.event, before.made, (event.event, None))
    value = None
    if operand is not None and before.value is not None:
        value = arithmetic.updated(before.value, event.operation, operand)
    lineage = hash((event.event, before.lineage))
    return ComponentState(before.version, value, lineage, before.made, (event.event, before.why))


def _committed(before: ComponentState, event: Event, operand: FlatOperand | None) -> ComponentState:
    """Return a component after a commit."""
    after = _after(before, event, operand)
    after.version, after.made = event.version, event.event
    return after


def _follows(component: ComponentState, version: int | None) -> bool:
    return component.version is None or component.version + 1 == version
