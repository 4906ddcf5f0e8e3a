"""Track which components of each variable are equal, which differ, and since when they differ.

Each component has a *chain*: a number for the component's last assign and all later adds. Two
components with the same chain hold the same value. Two components with different chains may still
hold equal values; only different digests prove a difference. Digests come from reads, and from
arithmetic on recorded values.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from varsim.analysis.arithmetic import digest_of, flat, operand_of, updated
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event

_MOST_BYTES: Final = 1024
"""Larger values are compared only by digest, to save time and memory."""

_MOST_SUMMED_BYTES: Final = 65_536
"""The limit for parts of a sum, whose values show by how much a sum is too large."""


class Copies:
    """The components of one variable."""

    __slots__ = (
        "chains",
        "differ",
        "digests",
        "diverged",
        "dtype",
        "gathered_by_program",
        "most_bytes",
        "program_write",
        "synchronised_at",
        "synchronised_to",
        "united_at",
        "values",
        "written",
        "written_before",
    )

    def __init__(
        self, num_replicas: int, dtype: np.dtype[Any], most_bytes: int = _MOST_BYTES
    ) -> None:
        self.dtype = dtype
        self.most_bytes = most_bytes  # of the values that are kept
        self.chains: list[int] = [0] * num_replicas
        self.digests: list[int | None] = [None] * num_replicas
        self.values: list[bytes | None] = [None] * num_replicas
        self.diverged: Event | None = None  # the write that made the components differ
        self.program_write: Event | None = None  # the program's last write, with its location
        self.differ = False  # whether the components certainly differ
        self.united_at = -1  # the last event after which the components were equal again
        self.written = [0] * num_replicas  # how often each replica wrote after `united_at`
        self.written_before = 0  # the largest count in `written` just before `united_at`
        # The components that the program has read since the last write.
        self.gathered_by_program: set[int] = set()
        self.synchronised_at = -1  # the last event that synchronised the components
        self.synchronised_to: int | None = None  # the digest of the components' common value

    @property
    def same(self) -> bool:
        """Return whether all components certainly hold the same value."""
        return self.diverged is None

    def same_as(self, replica_id: int, other: int) -> bool:
        """Return whether two components certainly hold the same value."""
        known = self.digests[replica_id]
        return self.chains[replica_id] == self.chains[other] or (
            known is not None and known == self.digests[other]
        )

    def differing_from(self, replica_id: int) -> list[int]:
        """Return the replicas whose components certainly hold a different value."""
        known = self.digests[replica_id]
        if known is None:
            return []
        return [r for r, d in enumerate(self.digests) if d is not None and d != known]

    def write(self, event: Event, replicas: Iterable[int]) -> None:
        """Apply a write to some components. Among these, equal components stay equal."""
        digest = digest_of(event)
        operand = event.event if digest is None else digest
        if event.operation == "assign":
            chain, value = hash(("assign", operand, event.shape)), self.value_of(event)
            for replica_id in replicas:
                self.chains[replica_id] = chain
                self.values[replica_id] = value
                self.digests[replica_id] = digest
        else:
            for replica_id in replicas:
                self.chains[replica_id] = hash((self.chains[replica_id], event.operation, operand))
                value = self.after(event, replica_id)
                self.values[replica_id] = value
                self.digests[replica_id] = None if value is None else zlib.crc32(value)
        self.gathered_by_program.clear()

    def learn(self, replica_id: int, event: Event) -> None:
        """Store the value of a component that an event shows."""
        if self.digests[replica_id] is not None:
            return
        digest = digest_of(event)
        if digest is not None:
            self.digests[replica_id] = digest
            self.values[replica_id] = self.value_of(event)
            self.compare(event)

    def value_of(self, event: Event) -> bytes | None:
        """Return the bytes of an event's value; None if the value is large or unknown."""
        value = event.value
        return value if value is not None and len(value) <= self.most_bytes else None

    def after(self, event: Event, replica_id: int) -> bytes | None:
        """Return the bytes of a component after a write; None if they are not known."""
        value = self.value_of(event)
        if event.operation == "assign" or value is None:
            return value
        operand, before = operand_of(event, self.dtype), self.values[replica_id]
        if before is None or operand is None:
            return None
        result = updated(flat(before, self.dtype), event.operation, operand)
        return None if result is None else result.tobytes()

    def compare(self, event: Event) -> bool:
        """Record whether the components differ; return True if this event made them equal."""
        first = self.chains[0]
        if self.chains.count(first) < len(self.chains):
            known = set(self.digests)
            if len(known) > 1 or None in known:
                if self.diverged is None:
                    self.diverged = event
                self.differ = self.differ or len(known - {None}) > 1
                return False
            self.chains = [first] * len(self.chains)  # different writes produced the same value
        if self.diverged is None:
            return False
        self.diverged, self.differ = None, False
        return True


class ComponentTracker(EventObserver):
    """The components of all variables after the events so far."""

    def __init__(self, num_replicas: int, variables: Mapping[int, VariableFacts]) -> None:
        self._variables = variables
        self._replicas: Final = range(num_replicas)
        # Each replica's last collective that is not a write.
        self._last_collective = [-1] * num_replicas
        self._wrote: dict[tuple[int, int], int] = {}  # (variable, replica): its last local write
        self._copies: dict[int, Copies] = {}

    def __getitem__(self, variable: int) -> Copies:
        copies = self._copies.get(variable)
        if copies is None:
            facts = self._variables[variable]
            most_bytes = _MOST_SUMMED_BYTES if facts.summed else _MOST_BYTES
            copies = Copies(len(self._replicas), facts.numpy_dtype, most_bytes)
            self._copies[variable] = copies
        return copies

    def concerns(self, variable: int | None) -> bool:
        """Return True for variables of the history and for events without a variable."""
        return variable is None or variable in self._variables

    def on_create(self, event: Event) -> None:
        """Begin with equal components."""
        if event.variable is not None and event.digest is not None:
            copies = self[event.variable]
            copies.digests = [event.digest] * len(self._replicas)
            copies.values = [copies.value_of(event)] * len(self._replicas)

    def on_forget(self, event: Event) -> None:
        """Drop the components."""
        if event.variable is not None:
            self._copies.pop(event.variable, None)

    def on_write_by_program(self, event: Event) -> None:
        """Store the program's write; a commit applies it to the components."""
        if event.variable is not None and event.position is None:
            self[event.variable].program_write = event

    def on_write_by_replica(self, event: Event) -> None:
        """Apply a local write now. All other writes are applied by commits."""
        variable, replica_id = event.variable, event.process
        if variable is None or event.position is not None:
            return
        if self._variables[variable].deferred:
            return
        copies = self[variable]
        copies.write(event, (replica_id,))
        copies.written[replica_id] += 1
        key = (variable, replica_id)
        after_collective = self._last_collective[replica_id] > self._wrote.get(key, -1)
        self._wrote[key] = event.event
        if copies.compare(event):
            # Equal values alone do not show that replicas synchronise: replicas may always write
            # equal values. Replicas synchronise if each of them writes at least twice, and assigns
            # its last value after a collective.
            twice = min(copies.written) >= 2
            agreed = after_collective and twice and event.operation == "assign"
            self._unite(copies, event, by_replicas=agreed, by_program=False)

    def on_commit(self, event: Event) -> None:
        """Apply a commit to its components."""
        if event.variable is None:
            return
        copies = self[event.variable]
        gathered = len(copies.gathered_by_program) == len(self._replicas)
        replicas = self._replicas if event.replica is None else (event.replica,)
        copies.write(event, replicas)
        if copies.compare(event):
            self._unite(copies, event, by_replicas=False, by_program=gathered)
        elif copies.diverged is event and event.location is None:
            copies.diverged = copies.program_write or event

    def _unite(self, copies: Copies, event: Event, *, by_replicas: bool, by_program: bool) -> None:
        copies.united_at = event.event
        copies.written_before = max(copies.written) - by_replicas
        copies.written = [0] * len(self._replicas)
        digest = digest_of(event)
        # A common value that is the same every time is a reset by the program, no synchronisation.
        if (by_replicas or by_program) and copies.synchronised_to not in {None, digest}:
            copies.synchronised_at = event.event
        copies.synchronised_to = digest

    def on_read_by_replica(self, event: Event) -> None:
        """Store the value of a component."""
        if event.variable is not None and not self._variables[event.variable].deferred:
            self[event.variable].learn(event.process, event)

    def on_read_by_program(self, event: Event) -> None:
        """Store the value of a component, or of a mirrored variable."""
        if event.variable is None:
            return
        if event.replica is not None:
            copies = self[event.variable]
            copies.learn(event.replica, event)
            copies.gathered_by_program.add(event.replica)
        elif self._variables[event.variable].mirrored:
            self[event.variable].learn(0, event)

    def on_component(self, event: Event) -> None:
        """Store the value that a replica sends to the program."""
        if event.variable is not None and not self._variables[event.variable].deferred:
            copies = self[event.variable]
            copies.learn(event.process, event)
            copies.gathered_by_program.add(event.process)

    def on_arrive(self, event: Event) -> None:
        """Record a collective that is not a write."""
        self._last_collective[event.process] = event.event


def sets_back(event: Event, after: bytes | None) -> bool:
    """Return whether a write sets a component to a value of its own: an assign, or to zeros.

    Args:
        after: The component after the write; None if it is not known.
    """
    if event.operation == "assign":
        return True
    return event.operation == "assign_sub" and after is not None and not any(after)
