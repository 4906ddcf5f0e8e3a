"""The components of a NONE variable stay on their replicas."""

from __future__ import annotations

from collections import Counter

from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event


class LocalOnly(Checker):
    """Checks that a component of a NONE variable leaves its replica only at the program's request.

    Only the replica itself and writes by the program may change the component.
    """

    name = "local-only"
    promise = "components of NONE stay on their replicas"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._asked: Counter[tuple[int, int]] = Counter()  # (variable, replica) → requests

    def concerns(self, variable: int | None) -> bool:
        """Return whether the components of the variable must stay on their replicas."""
        promise = self.promise_about(variable)
        return promise is not None and promise.stays_local

    def on_write_by_replica(self, event: Event) -> None:
        """Report a contribution by a replica."""
        if event.position is not None:
            self._refuse(event, f"{seen_by(event)} contributes to a merge")

    def on_wait(self, event: Event) -> None:
        """Report a wait of a replica."""
        self._refuse(event, f"{seen_by(event)} waits for a commit")

    def on_commit(self, event: Event) -> None:
        """Check that the commit belongs to a write by the program."""
        change = self.replay.change
        if change is None or change.write is not None:
            return
        if event.position is not None or self.replay.from_start:
            self._refuse(event, "a commit does not come from a write by the program")

    def on_read_by_program(self, event: Event) -> None:
        """Report a read of all components together."""
        if event.replica is None:
            self._refuse(event, "the program reads a value of all components")

    def on_fetch(self, event: Event) -> None:
        """Record that the program requests a component."""
        assert event.variable is not None
        assert event.replica is not None
        self._asked[event.variable, event.replica] += 1

    def on_component(self, event: Event) -> None:
        """Check that the program has requested the component."""
        assert event.variable is not None
        asked = event.variable, event.process
        if self._asked[asked]:
            self._asked[asked] -= 1
        elif self.replay.from_start:
            self._refuse(event, f"{seen_by(event)} sends a component without a request")

    def _refuse(self, event: Event, reason: str) -> None:
        self.wrong(self.variable_of(event), reason, (event.event,))
