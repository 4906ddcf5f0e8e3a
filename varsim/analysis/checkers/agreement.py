"""Mirrored components agree at every version."""

from __future__ import annotations

from typing import Final

from varsim.analysis import arithmetic
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.components import ReplayedVariable
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event

_MANY: Final = 64
"""Number of lineages kept per variable. If there are more lineages, unused ones are dropped.

A lineage is a number. Components with the same writes have the same lineage.
"""


class Agreement(Checker):
    """Checks that mirrored components with the same writes hold the same bytes.

    Components may differ only after a write to a single component. The checker compares recorded
    values and recomputes nothing. So it can check adaptive variables, too.
    """

    name = "agreement"
    promise = "mirrored components agree at every version"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._seen: dict[int, dict[int, tuple[int, int]]] = {}  # variable → lineage → digest, event

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable is mirrored."""
        promise = self.promise_about(variable)
        return promise is not None and promise.mirrored

    def on_create(self, event: Event) -> None:
        """Record that all components begin with the same value."""
        variable = self.variable_of(event)
        self._seen[variable.number] = {}
        self._compare(variable, variable.at_program[0].lineage, event)

    def on_forget(self, event: Event) -> None:
        """Drop the recorded digests of the variable."""
        if event.variable is not None:
            self._seen.pop(event.variable, None)

    def on_commit(self, event: Event) -> None:
        """Compare an assigned value: all components must hold it."""
        if event.operation == "assign":
            self._compare(self.variable_of(event), event.event, event)

    def on_install(self, event: Event) -> None:
        """Compare a replica's component after a commit, if the component was recorded."""
        if event.digest is not None or event.value is not None:
            self.on_component(event)

    def on_component(self, event: Event) -> None:
        """Compare a component that a replica sends to the program."""
        variable = self.variables[event.variable]
        self._compare(variable, variable.at_replica[event.process].lineage, event)

    on_read_by_replica = on_component

    def on_read_by_program(self, event: Event) -> None:
        """Compare a value that the program reads."""
        variable = self.variable_of(event)
        self._compare(variable, variable.at_program[event.replica or 0].lineage, event)

    def _compare(self, variable: ReplayedVariable, lineage: int, event: Event) -> None:
        digest = event.digest if event.digest is not None else arithmetic.digest_of(event)
        if digest is None:
            self.undecided(
                variable,
                f"what {seen_by(event)} held at version {event.version} was not recorded",
                event.event,
            )
            return
        seen = self._seen.setdefault(variable.number, {})
        first = seen.setdefault(lineage, (digest, event.event))
        if first[0] != digest:
            self.wrong(
                variable,
                f"{seen_by(event)} differs at version {event.version} from components with the "
                "same writes",
                (first[1], event.event),
            )
        if len(seen) > _MANY:
            self._drop_old(variable, seen)

    def _drop_old(self, variable: ReplayedVariable, seen: dict[int, tuple[int, int]]) -> None:
        held = {one.lineage for one in variable.at_program + variable.at_replica}
        for replica in self.replay.replicas:
            coming = self.replay.in_flight.of(variable.number, replica)
            held |= {change.components[replica][1].lineage for change in coming}
        for lineage in seen.keys() - held:
            del seen[lineage]
