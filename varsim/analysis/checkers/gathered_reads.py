"""An ON_READ read equals the reduction of the components at the time of the read."""

from __future__ import annotations

from collections.abc import Iterator

from varsim.analysis import arithmetic
from varsim.analysis.checker import Checker
from varsim.analysis.components import ReplayedVariable
from varsim.tracing.history import Event


class GatheredReads(Checker):
    """Checks that the program reads the aggregate of the components that it knows.

    The program knows the components that it has just fetched or that it wrote itself.
    """

    name = "gathered-reads"
    compares = "read"
    promise = "an ON_READ read equals the reduction of the components at that moment"

    def concerns(self, variable: int | None) -> bool:
        """Return whether a read by the program aggregates the variable's components."""
        promise = self.promise_about(variable)
        return promise is not None and promise.gathered

    def on_read_by_program(self, event: Event) -> None:
        """Recompute the aggregate of the components."""
        variable = self.variable_of(event)
        if event.replica is not None:
            return
        count = self.replay.num_replicas
        if variable.promise.aggregation == "ONLY_FIRST_REPLICA":
            count = 1
        for replica, answer in variable.answers.items():
            if replica < count and not self.replay.may_know(answer):
                reason = f"the program reads before replica {replica} has answered"
                self.wrong(variable, reason, (answer.event, event.event))
        values = [variable.known_to_program(replica) for replica in range(count)]
        known = [value for value in values if value is not None]
        if len(known) < count:
            reason = "not all components of a read were recorded"
            self.unrecorded(variable, reason, event.event)
            return
        expected = arithmetic.combined(known, variable.promise.aggregation)
        if expected is None:
            reason = "it was read, but its components cannot be combined"
            self.wrong(variable, reason, (event.event,))
            return
        held = self.matches(expected, event)
        if held is None:
            self.unrecorded(variable, "what the program read was not recorded", event.event)
        elif not held:
            reason = f"the value that the program read is not the {variable.promise.aggregation}"
            self.wrong(variable, reason, (event.event, *self._because(variable, count)))

    def _because(self, variable: ReplayedVariable, count: int) -> Iterator[int]:
        for replica in range(count):
            if replica in variable.answers:
                yield variable.answers[replica].event
            else:
                yield from variable.at_program[replica].because()
