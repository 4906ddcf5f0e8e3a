"""The components of all variables, as the events of a history change them and show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.arithmetic import small_value
from varsim.analysis.findings.copies import Copies
from varsim.analysis.findings.subject import Subject
from varsim.analysis.observer import Observer
from varsim.tracing.history import Event


class Components(Observer):
    """The components of all variables, as far as events have been taken."""

    def __init__(self, num_replicas: int, variables: Mapping[int, Subject]) -> None:
        self._variables = variables
        self._replicas: Final = range(num_replicas)
        self._met = [-1] * num_replicas  # each replica's last meeting other than a write
        self._wrote: dict[tuple[int, int], int] = {}  # (variable, replica): its last local write
        self._copies: dict[int, Copies] = {}

    def __getitem__(self, variable: int) -> Copies:
        copies = self._copies.get(variable)
        if copies is None:
            copies = Copies(len(self._replicas), self._variables[variable].kind)
            self._copies[variable] = copies
        return copies

    def concerns(self, variable: int | None) -> bool:
        """All that the history tells of."""
        return variable is None or variable in self._variables

    def on_create(self, event: Event) -> None:
        """All components are alike."""
        if event.variable is not None and event.digest is not None:
            copies = self[event.variable]
            copies.digests = [event.digest] * len(self._replicas)
            copies.values = [small_value(event)] * len(self._replicas)

    def on_forget(self, event: Event) -> None:
        """Its components are no more."""
        if event.variable is not None:
            self._copies.pop(event.variable, None)

    def on_write_by_program(self, event: Event) -> None:
        """Its effect comes by a commit."""
        if event.variable is not None and event.meeting is None:
            self[event.variable].asked = event

    def on_write_by_replica(self, event: Event) -> None:
        """A local write changes a component at once; the others have their effect by commits."""
        variable, replica_id = event.variable, event.process
        if variable is None or event.meeting is not None:
            return
        if self._variables[variable].deferred:
            return
        copies = self[variable]
        copies.write(event, (replica_id,))
        copies.written[replica_id] += 1
        key = (variable, replica_id)
        after_meeting = self._met[replica_id] > self._wrote.get(key, -1)
        self._wrote[key] = event.event
        if copies.compare(event):
            # A write of its own, and then one of what was agreed on: not the same write by all.
            twice = min(copies.written) >= 2
            agreed = after_meeting and twice and event.operation == "assign"
            self._united(copies, event, by_replicas=agreed, by_program=False)

    def on_commit(self, event: Event) -> None:
        """Changes components."""
        if event.variable is None:
            return
        copies = self[event.variable]
        looked = len(copies.gathered_by_program) == len(self._replicas)
        replicas = self._replicas if event.replica is None else (event.replica,)
        copies.write(event, replicas)
        if copies.compare(event):
            self._united(copies, event, by_replicas=False, by_program=looked)
        elif copies.parted is event and event.place is None:
            copies.parted = copies.asked or event

    def _united(self, copies: Copies, event: Event, *, by_replicas: bool, by_program: bool) -> None:
        copies.united_at = event.event
        copies.written_before = max(copies.written) - by_replicas
        copies.written = [0] * len(self._replicas)
        digest = digest_of(event)
        # What becomes the same value every time is reset, not synchronised.
        if (by_replicas or by_program) and copies.synchronised_to not in {None, digest}:
            copies.synchronised_at = event.event
            copies.synchronised_by_program = by_program
        copies.synchronised_to = digest

    def on_read_by_replica(self, event: Event) -> None:
        """Shows what a component holds."""
        if event.variable is not None and not self._variables[event.variable].deferred:
            self[event.variable].learn(event.process, event)

    def on_read_by_program(self, event: Event) -> None:
        """Likewise."""
        if event.variable is None:
            return
        if event.replica is not None:
            copies = self[event.variable]
            copies.learn(event.replica, event)
            copies.gathered_by_program.add(event.replica)
        elif self._variables[event.variable].mirrored:
            self[event.variable].learn(0, event)

    def on_component(self, event: Event) -> None:
        """Likewise."""
        if event.variable is not None and not self._variables[event.variable].deferred:
            copies = self[event.variable]
            copies.learn(event.process, event)
            copies.gathered_by_program.add(event.process)

    def on_meet(self, event: Event) -> None:
        """A meeting other than a write."""
        self._met[event.process] = event.event
