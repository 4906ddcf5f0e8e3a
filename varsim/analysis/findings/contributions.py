"""The contributions to merges that are neither committed nor aborted."""

from __future__ import annotations

from collections.abc import Mapping

from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event

_NONE: Mapping[int, Event] = {}


class Contributions(EventObserver):
    """The contributions of all replicas to merges that have not ended."""

    def __init__(self, variables: Mapping[int, VariableFacts]) -> None:
        self._merged = {number for number, one in variables.items() if one.merged}
        self._open: dict[tuple[int | None, int], dict[int, dict[int, Event]]] = {}
        """(call, variable) → position → replica → its contribution."""
        self.committed: Mapping[int, Event] = _NONE
        """Replica → its contribution to the last commit."""

    def concerns(self, variable: int | None) -> bool:
        """Return whether replicas' writes to the variable are merged."""
        return variable is None or variable in self._merged

    def on_write_by_replica(self, event: Event) -> None:
        """Store a contribution."""
        if event.position is None or event.variable is None:
            return
        merges = self._open.get((event.call, event.variable))
        if merges is None:
            merges = self._open[event.call, event.variable] = {}
        contributions = merges.get(event.position)
        if contributions is None:
            merges[event.position] = {event.process: event}
        else:
            contributions[event.process] = event

    def on_commit(self, event: Event) -> None:
        """Find the contributions to a commit.

        If no open merge has the position of the commit, take the first open merge.
        """
        self.committed = _NONE
        if event.replica is not None or event.variable is None:
            return
        key = event.call, event.variable
        merges = self._open.get(key)
        if merges is None:
            return
        position = event.position if event.position in merges else next(iter(merges))
        self.committed = merges.pop(position)
        if not merges:
            del self._open[key]

    def on_abort(self, event: Event) -> None:
        """Drop the contributions of an aborted call, because they are never merged."""
        if self._open:
            self._open = {key: one for key, one in self._open.items() if key[0] != event.call}
