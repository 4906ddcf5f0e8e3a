"""Decide when writes to variables with bounded staleness take effect: the clocks of one call."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from varsim.errors import ProtocolError
from varsim.protocol.messages import BoundedWrite
from varsim.value_class import value_class

NO_OTHERS: Final = 2**62
"""In place of the clock of the slowest other replica: no other replica runs any more."""


@value_class(eq=False)
class Admitted:
    """A write that takes effect now."""

    replica_id: int
    write: BoundedWrite
    ahead: int  # by how many writes the replica is ahead of the slowest running replica
    waited_s: float
    waited_for: int | None  # the replica whose write or end has ended the wait; None without a wait


@dataclass(slots=True)
class _Clocks:
    """The replicas' numbers of writes to one variable in one call."""

    bound: int
    arrived: list[int]
    applied: list[int]


@value_class(eq=False)
class _Held:
    """A write that waits for slower replicas."""

    replica_id: int
    write: BoundedWrite
    arrived_s: float


@dataclass(slots=True, eq=False)
class BoundedWrites:
    """The writes of one call to all variables with bounded staleness.

    A write takes effect when it arrives. If it would put its replica more than `bound` writes ahead
    of the slowest running replica, it is held until all running replicas have written often enough.
    Writes that an arrival admits together take effect in order of arrival. A replica whose function
    has ended, or that has joined, does not hold other replicas back. When all have joined, the
    numbers of writes begin again from 0.
    """

    num_replicas: int
    ended: set[int]  # the replicas whose functions have ended
    admitted: list[Admitted] = field(default_factory=list)
    """The writes that are admitted, but have not taken effect yet."""
    _joined: Collection[int] = ()  # the replicas that have joined
    _clocks: dict[int, _Clocks] = field(default_factory=dict)  # by variable_id
    _held: list[_Held] = field(default_factory=list)  # in order of arrival

    def write(self, replica_id: int, write: BoundedWrite, bound: int, now_s: float) -> None:
        """Take a write of a replica; admit it and others, if possible.

        Raises:
            ProtocolError: The clock is not the replica's next one, or the replica does not wait
                although it must.
        """
        number = write.variable_id
        clocks = self._clocks.get(number)
        if clocks is None:
            zeros = [0] * self.num_replicas
            clocks = self._clocks[number] = _Clocks(bound, zeros, [*zeros])
        if write.clock != clocks.arrived[replica_id] + 1:
            raise ProtocolError(
                f"write {write.clock} of replica {replica_id} to variable {number} comes after "
                f"write {clocks.arrived[replica_id]}"
            )
        clocks.arrived[replica_id] = write.clock
        if not write.waits and self._ahead(clocks, write.clock) > bound:
            raise ProtocolError(f"replica {replica_id} is too many writes ahead, and does not wait")
        self._held.append(_Held(replica_id, write, now_s))
        self._admit(replica_id, now_s)

    def end(self, replica_id: int, now_s: float) -> None:
        """Record that the function of a replica has ended: it holds no other replica back."""
        self.ended.add(replica_id)
        self._admit(replica_id, now_s)

    def join(self, joined: Collection[int], by: int, now_s: float) -> None:
        """Set the replicas that have joined, of which `by` is the last one; () if all have."""
        self._joined = joined
        if joined:
            self._admit(by, now_s)
        else:
            self._clocks.clear()

    def _holds_back(self, replica_id: int) -> bool:
        return replica_id not in self.ended and replica_id not in self._joined

    def _ahead(self, clocks: _Clocks, clock: int) -> int:
        running = [own for i, own in enumerate(clocks.arrived) if self._holds_back(i)]
        return clock - min(running, default=clock)

    def _admit(self, by: int, now_s: float) -> None:
        """Admit the held writes that are not too far ahead, in order of arrival."""
        held, self._held = self._held, []
        for one in held:
            clocks, write = self._clocks[one.write.variable_id], one.write
            ahead = self._ahead(clocks, write.clock)
            if ahead > clocks.bound:
                self._held.append(one)
                continue
            clocks.applied[one.replica_id] = write.clock
            waited_for = None if one.replica_id == by else by
            waited_s = now_s - one.arrived_s
            self.admitted.append(Admitted(one.replica_id, write, ahead, waited_s, waited_for))

    # ------------------------------------------------------------ what is known of the replicas

    def slowest(self, variable_id: int, replica_id: int) -> int:
        """Return how many writes of every other running replica have taken effect, at least."""
        clocks = self._clocks.get(variable_id)
        everyone = range(self.num_replicas)
        others = [i for i in everyone if i != replica_id and self._holds_back(i)]
        if not others:
            return NO_OTHERS
        return 0 if clocks is None else min(clocks.applied[i] for i in others)

    def obstacles(self, write: BoundedWrite) -> Iterator[tuple[int, int]]:
        """Yield the replicas for which a write waits, each with its number of writes."""
        clocks = self._clocks[write.variable_id]
        for other, clock in enumerate(clocks.arrived):
            if self._holds_back(other) and write.clock - clock > clocks.bound:
                yield other, clock

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        assert not self.admitted, "all admitted writes take effect in the same event"
        for one in self._held:
            clocks = self._clocks[one.write.variable_id]
            assert self._ahead(clocks, one.write.clock) > clocks.bound, "it could be admitted"
            assert clocks.applied[one.replica_id] == one.write.clock - 1
        for clocks in self._clocks.values():
            for arrived, applied in zip(clocks.arrived, clocks.applied, strict=True):
                assert applied <= arrived <= applied + 1
