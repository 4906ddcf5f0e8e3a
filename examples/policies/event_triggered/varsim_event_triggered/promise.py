"""The promise of event-triggered exchanges, for the judge of recorded runs."""

from __future__ import annotations

import math

import numpy as np

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.replay import Replay
from varsim.analysis.synchronization_promise import SynchronizationPromise
from varsim.tracing.history import Event

_Mine = tuple[int, int]
"""A variable and a replica."""


class DriftTriggers(Checker):
    """Checks that exactly the writes that exceed the threshold are followed by an exchange.

    `OneSided` checks that the copy is the sum of the pushes, and that a pull shows it.
    """

    name = "event-triggered"
    promise = "a replica pushes its drift / N exactly when it exceeds the threshold"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._held: dict[_Mine, Flat | None] = {}  # the component before the next event
        self._drift: dict[_Mine, Flat | None] = {}  # since the last exchange; None if unknown
        self._due: dict[_Mine, int] = {}  # the write after which a push must follow
        self._obtained: dict[_Mine, Event] = {}  # the copy with which the replica must continue

    def concerns(self, variable: int | None) -> bool:
        """Return True for the variables of the policy, and for events without a variable."""
        promise = self.promise_about(variable)
        return promise is None or promise.keyword == "event_triggered"

    def on_create(self, event: Event) -> None:
        """Begin without a drift."""
        variable = self.variable_of(event)
        for replica in self.replay.replicas:
            value = variable.at_replica[replica].value
            self._held[variable.number, replica] = value
            self._drift[variable.number, replica] = None if value is None else np.zeros_like(value)

    def on_state(self, event: Event) -> None:
        """Begin with the drift that a restart gives to a replica; its values are not recorded."""
        if event.variable is None or event.replica is None:
            return
        mine = event.variable, event.replica
        held = self.variables[event.variable].at_program[event.replica].value
        has_drift = "drift" in (event.note or "drift")
        self._drift[mine] = None if has_drift or held is None else np.zeros_like(held)

    def on_install(self, event: Event) -> None:
        """Take the component after a write of the program, which changes no drift."""
        variable = self.variable_of(event)
        self._held[variable.number, event.process] = self.own(event).value

    def on_write_by_replica(self, event: Event) -> None:
        """Add a change to the drift; or check that the replica continues with the copy."""
        variable = self.variable_of(event)
        mine = variable.number, event.process
        before, after = self._held.get(mine), self.own(event).value
        self._held[mine] = after
        obtained = self._obtained.pop(mine, None)
        if obtained is not None:
            same = arithmetic.digest_of(event) == arithmetic.digest_of(obtained)
            if event.operation != "assign" or not same:
                reason = f"{seen_by(event)} does not continue with the copy that it has pulled"
                self.wrong(variable, reason, (obtained.event, event.event))
            return
        if mine in self._due:
            reason = f"{seen_by(event)} writes again before its drift was exchanged"
            self.wrong(variable, reason, (self._due.pop(mine), event.event))
        drift = self._drift.get(mine)
        if before is None or after is None or drift is None:
            self._drift[mine] = None
            return
        drift = self._drift[mine] = np.add(drift, np.subtract(after, before))
        if self._excess(mine, drift) > 0:
            self._due[mine] = event.event

    def _excess(self, mine: _Mine, drift: Flat) -> float:
        """Return by how much a drift exceeds the threshold; 0 if rounding decides."""
        threshold = float(self.replay.promises[mine[0]].parameters[0])
        wide = drift.astype(np.float64)
        norm = math.sqrt(float(np.dot(wide, wide)))
        return 0.0 if math.isclose(norm, threshold, rel_tol=1e-9) else norm - threshold

    def on_push(self, event: Event) -> None:
        """Check that a push is the drift, divided by the number of replicas."""
        variable = self.variable_of(event)
        mine = variable.number, event.process
        due, drift = self._due.pop(mine, None), self._drift.get(mine)
        if event.process < 0:
            self.wrong(variable, "the program pushes to a copy of the policy", (event.event,))
            return
        if drift is not None:
            if due is None and self._excess(mine, drift) < 0:
                reason = f"{seen_by(event)} pushes a drift that is within the threshold"
                self.wrong(variable, reason, (event.event,))
            count = np.asarray(self.replay.num_replicas).astype(drift.dtype)
            held = arithmetic.matches(np.divide(drift, count), event)
            if held is None:
                self.undecided(variable, "a push was not recorded", event.event)
            elif not held:
                reason = f"{seen_by(event)} pushes another value than its drift / N"
                self.wrong(variable, reason, (*((due,) if due else ()), event.event))
        else:
            self.undecided(variable, "the drift before a push was not recorded", event.event)
        after = self._held.get(mine)
        self._drift[mine] = None if after is None else np.zeros_like(after)

    def on_obtain_by_replica(self, event: Event) -> None:
        """Expect that the replica continues with this copy."""
        if event.variable is not None:
            self._obtained[event.variable, event.process] = event

    def on_read_by_replica(self, event: Event) -> None:
        """Check that a drift was exchanged before the replica reads."""
        self._finished(event, "reads")

    def on_return(self, event: Event) -> None:
        """Check that a drift was exchanged before the function returns."""
        for number, replica in [*self._due]:
            if replica == event.process:
                self._finished(event, "returns", number)

    def _finished(self, event: Event, does: str, number: int | None = None) -> None:
        mine = (event.variable if number is None else number) or 0, event.process
        due = self._due.pop(mine, None)
        if due is not None:
            reason = f"{seen_by(event)} {does} before its drift was exchanged"
            self.wrong(self.variables[mine[0]], reason, (due, event.event))

    def on_abort(self, event: Event) -> None:
        """Expect no exchange of a failed call any more."""
        self._due.clear()
        self._obtained.clear()


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promise of event_triggered:t.

    Raises:
        ValueError: The parameter is not one number from 0.
    """
    (threshold,) = map(float, parameters)
    if not 0 <= threshold < math.inf:
        raise ValueError(f"{threshold} is not a threshold")
    return SynchronizationPromise(copy=True, local_reads=True, checkers=(DriftTriggers,))
