"""What every component must hold, if the writes and commits of a history are all that changed it.

A component is kept twice: as its replica has it, which changes when a commit is installed, and as
the program knows it, which changes when the commit is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.observer import Observer, Take
from varsim.analysis.pending import ByProgram, Change, Contributions, Meetings, Sent
from varsim.analysis.promises import Promise
from varsim.tracing.history import Event

Why = tuple[int, "Why | None"]
"""An event, and those before it that made a value what it is."""


class Component:
    """One state of one component; several replicas share it while they hold the same."""

    __slots__ = ("lineage", "made", "value", "version", "why")

    def __init__(
        self, version: int | None, value: Flat | None, lineage: int, made: int, why: Why
    ) -> None:
        self.version = version  # None while it is not known
        self.value = value  # likewise
        self.lineage = lineage  # equal for those that were written alike
        self.made = made  # the event that gave it its version
        self.why = why  # the events that gave it its value

    def prove(self, event: int) -> None:
        """An event has shown the value: what came before proves nothing more."""
        self.why = (event, None)

    def because(self) -> Iterator[int]:
        """The events that made the value, latest first."""
        why: Why | None = self.why
        while why is not None:
            event, why = why
            yield event


class Variable:
    """All components of one variable."""

    __slots__ = ("answers", "at_program", "at_replica", "number", "promise")

    def __init__(self, number: int, promise: Promise, components: list[Component]) -> None:
        self.number = number
        self.promise = promise
        self.at_replica = components
        self.at_program = [*components]
        self.answers: dict[int, Event] = {}  # components that the program has just asked for

    @property
    def version(self) -> int | None:
        """What a read of all components together has: the latest of any."""
        known = [one.version for one in self.at_program if one.version is not None]
        return max(known) if len(known) == len(self.at_program) else None


class Variables(dict[int | None, Variable]):
    """The variables of a history, by number; those of before the record began are made up."""

    def __init__(self, num_replicas: int, promises: Mapping[int, Promise]) -> None:
        super().__init__()
        self._num_replicas = num_replicas
        self._promises = promises

    def __missing__(self, number: int | None) -> Variable:
        assert number is not None, "rows that make no sense are not replayed"
        lineages = range(-2, -2 - self._num_replicas, -1)  # -1 has the hash of -2
        everything = [Component(None, None, one, 0, (0, None)) for one in lineages]
        found = self[number] = Variable(number, self._promises[number], everything)
        return found


class Replay(Observer):
    """Goes through a history, and says before each event what it must find."""

    def __init__(
        self, num_replicas: int, promises: Mapping[int, Promise], *, from_start: bool = True
    ) -> None:
        self.num_replicas: Final = num_replicas
        self.replicas: Final = range(num_replicas)
        self.from_start: Final = from_start
        """Whether the record begins with the run; else nothing is known until it is seen."""
        self.promises: Final = promises
        self.variables: Final = Variables(num_replicas, promises)
        self.meetings = Meetings()
        self.by_program = ByProgram()
        self.sent = Sent(num_replicas)
        self.change: Change | None = None
        """What a commit that has just been taken does."""
        self.installed: tuple[Component, Change | None] | None = None
        """Of an install that has just been taken: what the replica held before, and the commit."""
        self.left: list[Contributions] = []
        """Of a call that has just finished: the meetings that no commit ended."""
        self._answered: set[int] = set()  # variables with answers
        self._heard = [0] * num_replicas  # of each replica, its last event that has come

    # ------------------------------------------------------------ what changes components

    def on_create(self, event: Event) -> None:
        """A new variable: all components are alike."""
        number = event.variable
        assert number is not None, "rows that make no sense are not replayed"
        promise = self.promises[number]
        value = arithmetic.value_of(event, promise.dtype) if self.from_start else None
        version = event.version if self.from_start else None
        one = Component(version, value, event.event, event.event, (event.event, None))
        self.variables[number] = Variable(number, promise, [one] * self.num_replicas)

    def on_forget(self, event: Event) -> None:
        """Nobody will name a variable again."""
        assert event.variable is not None
        self.variables.pop(event.variable, None)
        self.by_program.forget(event.variable)
        self.sent.forget(event.variable)

    def on_write_by_program(self, event: Event) -> None:
        """The program's own, which has its effect by commits."""
        self.by_program.write(event, self.num_replicas)

    def on_write_by_replica(self, event: Event) -> None:
        """A contribution, or a write of a replica to its component."""
        if event.meeting is not None and event.call is not None:
            self.meetings.write(event)
            return
        variable = self.variables[event.variable]
        operand = arithmetic.value_of(event, variable.promise.dtype)
        replica = event.process
        before, known = variable.at_replica[replica], variable.at_program[replica]
        after = _after(before, event, operand)
        variable.at_replica[replica] = after
        variable.at_program[replica] = after if known is before else _after(known, event, operand)

    def on_commit(self, event: Event) -> None:
        """A new version of some components; the change says of which, and why."""
        variable = self.variables[event.variable]
        contributions, write = None, None
        if event.meeting is not None and event.call is not None:
            contributions = self.meetings.commit(event)
        else:
            write = self.by_program.commit(event)
        change = self.change = Change(event, contributions, write)
        remaining = self._remaining(event, change)
        operand = arithmetic.value_of(event, variable.promise.dtype)
        held = variable.at_program
        if held.count(held[0]) == len(held) == len(remaining):  # as a rule: one for all
            before = held[0]
            after = _committed(before, event, operand)
            change.components = dict.fromkeys(remaining, (before, after))
            variable.at_program = [after] * len(held)
        else:
            fits = [i for i in remaining if _follows(held[i], event.version)]
            shared: dict[int, Component] = {}  # by what was held before
            for replica in fits or remaining:
                before = held[replica]
                if id(before) not in shared:
                    shared[id(before)] = _committed(before, event, operand)
                change.components[replica] = before, shared[id(before)]
                held[replica] = shared[id(before)]
        self.meetings.served(change) if write is None else self.by_program.served(change)
        self.sent.add(change)

    def _remaining(self, event: Event, change: Change) -> Sequence[int]:
        """The components that a commit may be for."""
        if event.replica is not None:
            return [event.replica]
        if change.write is not None:
            return sorted(change.write.remaining) or self.replicas
        if change.contributions is not None and change.contributions.served:
            return sorted(set(self.replicas) - change.contributions.served.keys())
        return self.replicas

    def on_install(self, event: Event) -> None:
        """A replica has a commit now."""
        variable = self.variables[event.variable]
        replica = event.process
        before = variable.at_replica[replica]
        change = self.sent.take(event)
        self.installed = before, change
        if change is not None and change.components[replica][0] is before:
            variable.at_replica[replica] = change.components[replica][1]
            return
        operand = None
        if change is not None:
            operand = arithmetic.value_of(change.event, variable.promise.dtype)
        after = _after(before, event if change is None else change.event, operand)
        after.version, after.made = event.version, event.event
        variable.at_replica[replica] = after
        if not self.sent.of(variable.number, replica):
            # Nothing is on its way any more: the program cannot know more than the replica has.
            after.value = None if change is None else after.value
            variable.at_program[replica] = after

    def on_finish(self, event: Event) -> None:
        """A call is over."""
        self.left = list(self.meetings.end(event.call))

    # ------------------------------------------------------------ what the program asks for

    def on_receive(self, event: Event) -> None:
        """The program hears of a replica: of all up to the cause."""
        if event.replica is not None and event.cause is not None:
            self._heard[event.replica] = max(self._heard[event.replica], event.cause)

    def heard(self, event: Event) -> bool:
        """Whether the program can know of a replica's event."""
        return event.event <= self._heard[event.process] or not self.from_start

    def on_component(self, event: Event) -> None:
        """A component is on its way to the program, which has asked for it."""
        variable = self.variables[event.variable]
        variable.answers[event.process] = event
        self._answered.add(variable.number)

    def moves_on(self) -> None:
        """The program does something else: what it asked for is old now."""
        for number in self._answered:
            if number in self.variables:
                self.variables[number].answers.clear()
        self._answered.clear()


class MovesOn(Observer):
    """Tells the replay that the program has done something else than to ask; after the checkers."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    def taker(self, kind: str, *, by_program: bool) -> Take | None:
        """Whatever the program does."""
        return self._take if by_program and kind not in {"fetch", "receive"} else None

    def _take(self, event: Event) -> None:  # noqa: ARG002  # that there is one says it
        self._replay.moves_on()


def _after(before: Component, event: Event, operand: Flat | None) -> Component:
    """A component after a write to it, or a commit."""
    if event.operation == "assign":
        return Component(before.version, operand, event.event, before.made, (event.event, None))
    value = None
    if operand is not None and before.value is not None:
        value = arithmetic.updated(before.value, event.operation, operand)
    lineage = hash((event.event, before.lineage))
    return Component(before.version, value, lineage, before.made, (event.event, before.why))


def _committed(before: Component, event: Event, operand: Flat | None) -> Component:
    """A component after a commit."""
    after = _after(before, event, operand)
    after.version, after.made = event.version, event.event
    return after


def _follows(component: Component, version: int | None) -> bool:
    return component.version is None or component.version + 1 == version
