"""Read-your-writes: a read by a process shows the earlier writes of this process."""

from __future__ import annotations

from varsim.analysis import arithmetic
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.components import ComponentState, ReplayedVariable
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event


class ReadYourWrites(Checker):
    """Checks that a read shows the writes made by its process, and the commits received by it.

    After a replica has contributed to a variable, its next read of the variable must include the
    contribution. Adaptive variables are not checked, because their writes are exchanged in several
    deltas.
    """

    name = "read-your-writes"
    compares = "read"
    promise = "every process reads what it wrote"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        # (variable, replica) → the last contribution, until the replica installs its commit
        self._owed: dict[tuple[int, int], Event] = {}

    def on_write_by_replica(self, event: Event) -> None:
        """Record that the replica must receive a commit with its contribution."""
        if event.position is not None and event.variable is not None:
            self._owed[event.variable, event.process] = event

    def on_install(self, event: Event) -> None:
        """Record that the replica has received its contribution, if this commit includes it."""
        assert self.replay.installed is not None
        _, change = self.replay.installed
        assert event.variable is not None
        mine = event.variable, event.process
        owed = self._owed.get(mine)
        if owed is None or change is None or change.merge is None:
            return
        if change.merge.writes.get(event.process) is owed:
            del self._owed[mine]

    def on_component(self, event: Event) -> None:
        """Check that a replica sends its current component."""
        variable = self.variable_of(event)
        if not variable.promise.deferred:
            self._compare(variable, variable.at_replica[event.process], event)

    def on_read_by_replica(self, event: Event) -> None:
        """Check that a replica reads its current component."""
        number = event.variable
        assert number is not None
        owed = self._owed.get((number, event.process)) if self._owed else None
        if owed is not None and owed.call == event.call:
            reason = f"{seen_by(event)} reads before its own write is committed"
            self.wrong(self.variable_of(event), reason, (owed.event, event.event))
            del self._owed[number, event.process]
            return
        variable = self.variables[number]
        if not variable.promise.deferred:
            self._compare(variable, variable.at_replica[event.process], event)

    def on_read_by_program(self, event: Event) -> None:
        """Check that the program reads a value that a replica sent or that the program wrote."""
        variable = self.variable_of(event)
        if variable.promise.deferred or (event.replica is None and not variable.promise.mirrored):
            return
        replica = event.replica or 0
        answer = variable.answers.get(replica)
        if answer is None or arithmetic.digest_of(answer) is None:
            self._compare(variable, variable.at_program[replica], event)
            return
        if not self.replay.may_know(answer):
            reason = f"the program reads before replica {replica} has answered"
            self.wrong(variable, reason, (answer.event, event.event))
        digest = arithmetic.digest_of(event)
        if digest is None:
            self._undecided_read(variable, event)
        elif digest != arithmetic.digest_of(answer):
            reason = "the program reads another value than the replica sent"
            self.wrong(variable, reason, (answer.event, event.event))

    def _compare(self, variable: ReplayedVariable, held: ComponentState, event: Event) -> None:
        matching = self.matches(held.value, event)
        if matching is None:
            self._undecided_read(variable, event)
        elif matching:
            held.prove(event.event)
        else:
            reason = f"{seen_by(event)} reads another value than was written"
            self.wrong(variable, reason, (event.event, *held.because()))

    def _undecided_read(self, variable: ReplayedVariable, event: Event) -> None:
        reason = f"what {seen_by(event)} read, or what was written, was not recorded"
        self.unrecorded(variable, reason, event.event)
