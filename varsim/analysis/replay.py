"""Replay a history: compute every component from the recorded writes and commits alone.

Each component has two states. The replica's state changes when a commit is installed; the program's
state changes when the commit is made. Operations are dropped when they end, so a long history needs
no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import FlatOperand
from varsim.analysis.components import ComponentState, ReplayedVariable, ReplayedVariables
from varsim.analysis.observer import EventObserver, Take
from varsim.analysis.open_writes import (
    Change,
    CommitsInFlight,
    OpenMerges,
    PendingWrites,
    ReplayedMerge,
)
from varsim.analysis.presence import Presence
from varsim.analysis.promises import Promise
from varsim.spec import Rows
from varsim.tracing.history import Event


class Replay(EventObserver):
    """Replays a history; before each event, the replay has the values that the event must show."""

    def __init__(
        self,
        num_replicas: int,
        promises: Mapping[int, Promise],
        *,
        from_start: bool = True,
        is_summarised: Callable[[int | None], bool] = lambda _: False,
        cut_short: Collection[int] = (),
    ) -> None:
        self.num_replicas: Final = num_replicas
        self.replicas: Final = range(num_replicas)
        self.from_start: Final = from_start
        """Whether the record begins with the run. If not, a value is unknown until it is shown."""
        self.is_summarised: Final = is_summarised
        """See `History.is_summarised`."""
        self.cut_short: Final = cut_short
        """The replicas whose records end before those of the other processes."""
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
        self._failed: list[Event] = []  # the failures of calls whose last messages may come later
        self.some_lost = False
        """Whether a worker was lost so far: the program's own write can fail then."""
        self.on_arrive = self._presence.on_arrive
        self.on_answer = self._presence.on_answer
        self._forgotten: set[int] = set()  # variables that the program has dropped
        self._answered: set[int] = set()  # variables with fetched components
        self._known = [0] * num_replicas  # for each replica, its last event that the program knows

    @property
    def rejoined(self) -> Mapping[int, Event]:
        """Return what `Presence.rejoined` returns."""
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
        value = arithmetic.elements_of(event, promise.dtype) if self.from_start else None
        version = event.version if self.from_start else None
        one = ComponentState(version, value, event.event, event.event, (event.event, None))
        self._drop_forgotten()
        self.variables[number] = ReplayedVariable(number, promise, [one] * self.num_replicas)

    def on_forget(self, event: Event) -> None:
        """Expect no more writes to a variable.

        Replicas that take no part in the last calls can install earlier commits later.
        """
        assert event.variable is not None
        self.program_writes.forget(event.variable)
        self._forgotten.add(event.variable)

    def _drop_forgotten(self) -> None:
        """Drop the forgotten variables of which no commit is in transit."""
        for number in list(self._forgotten):
            if not any(self.in_flight.of(number, replica) for replica in self.replicas):
                self._forgotten.discard(number)
                self.variables.pop(number, None)
                self.in_flight.forget(number)

    def on_write_by_program(self, event: Event) -> None:
        """Store a write of the program; commits apply it."""
        if self.some_lost and not self.promises[event.variable or 0].deferred:
            self.program_writes.forget(event.variable or 0)  # without a commit, they have failed
        self.program_writes.write(event, self.num_replicas)

    def on_read_by_program(self, event: Event) -> None:
        """Let components be unknown whose commits were not recorded, because their worker ended."""
        if not self.cut_short:
            return
        variable = self.variables[event.variable]
        for replica in self.program_writes.give_up(variable.number, self.cut_short):
            known = variable.at_program[replica]
            why = (event.event, None)
            variable.at_program[replica] = ComponentState(None, None, -event.event, known.made, why)

    def on_write_by_replica(self, event: Event) -> None:
        """Store a contribution, or apply a local write of a replica."""
        if event.position is not None and event.call is not None:
            self.merges.write(event)
            return
        variable = self.variables[event.variable]
        operand = variable.promise.operand_of(event)
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
        operand = variable.promise.operand_of(event)
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
            operand = variable.promise.operand_of(change.event)
        after = _after(before, event if change is None else change.event, operand)
        after.version, after.made = event.version, event.event
        variable.at_replica[replica] = after
        if not self.in_flight.of(variable.number, replica):
            # No commit is in transit: the program cannot know more than the replica.
            after.value = None if change is None else after.value
            variable.at_program[replica] = after

    def on_call(self, event: Event) -> None:
        """Begin a call, after which nothing of failed calls is sent."""
        for failed in self._failed:
            self._end(failed)
        self._failed.clear()
        self._presence.on_call(event)

    def on_finish(self, event: Event) -> None:
        """End a call. What was decided before its failure can be sent after it."""
        self.left = []
        if event.note is None:
            self.left = self._end(event)
        else:
            self._failed.append(event)

    def _end(self, finish: Event) -> list[ReplayedMerge]:
        self._presence.on_finish(finish)
        return list(self.merges.end(finish.call))

    def on_lost(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        """Record that a worker was lost."""
        self.some_lost = True

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
