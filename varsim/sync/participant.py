"""Keep track of one replica in one running call."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from weakref import WeakValueDictionary

from varsim.errors import ProtocolError
from varsim.protocol.buckets import Bucket, arrange, unpack
from varsim.protocol.messages import (
    BoundedWrite,
    Collective,
    CollectiveMessage,
    Combine,
    CompressedContribution,
    Contribution,
    HostCall,
    Join,
    Layout,
    Meeting,
    MergeCall,
    Raised,
    Returned,
    Scatter,
    SyncRequest,
    Waiting,
    Write,
)
from varsim.spec import Array, VariableSpec
from varsim.sync.coordinator_door import DENSE, check_write
from varsim.value_class import value_class

ONE_WRITE: Final = (Scatter, CompressedContribution)
"""The messages for one write each; `isinstance` is slower with a union."""

WRITES: Final = (Contribution, *ONE_WRITE)
"""The collectives that a replica does not wait for."""

ENDLESS: Final = 2**63 - 1
"""The `stop` of the arrival of a replica that joins: it stays until all replicas have joined."""

MAX_LAYOUTS: Final = 64
"""Number of layouts that a replica and the coordinator store. A new layout replaces the oldest."""


class Status(Enum):
    """What a replica does in a call, according to the replica's messages."""

    RUNNING = "runs"
    WAITING = "waits"
    ENDED = "has ended"


class Arrangement:
    """The arrangement of writes in buckets, shared by layouts that differ only in locations."""

    __slots__ = ("__weakref__", "buckets")

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.buckets = buckets


@value_class(eq=False)
class Plan:
    """The decoded layout of a contribution."""

    writes: tuple[Write, ...]
    arrangement: Arrangement


class Plans:
    """The layouts that the replicas have sent."""

    def __init__(self, num_replicas: int, specs: Mapping[int, VariableSpec]) -> None:
        self._specs = specs
        self._num_replicas = num_replicas
        self._of_replica: list[dict[int, Plan | Layout]] = [{} for _ in range(num_replicas)]
        self._arrangements: WeakValueDictionary[tuple[object, ...], Arrangement] = (
            WeakValueDictionary()
        )

    def learn(self, replica_id: int, layout: Layout) -> None:
        """Store a layout of a replica, which is decoded when a contribution uses it.

        Raises:
            ProtocolError: The layout's id is not from 0 to MAX_LAYOUTS - 1.
        """
        if not 0 <= layout.layout_id < MAX_LAYOUTS:
            raise ProtocolError(f"the id {layout.layout_id} of a layout is out of range")
        self._of_replica[replica_id][layout.layout_id] = layout

    def plan(self, replica_id: int, layout_id: int) -> Plan:
        """Return the plan of a contribution.

        Raises:
            ProtocolError: The replica has not sent this layout, or a write of the layout cannot be
                merged.
        """
        plan = self._of_replica[replica_id].get(layout_id)
        if plan is None:
            raise ProtocolError(f"replica {replica_id} has not sent layout {layout_id}")
        if isinstance(plan, Layout):
            plan = self._of_replica[replica_id][layout_id] = self._plan(plan.writes)
        return plan

    def _plan(self, writes: tuple[Write, ...]) -> Plan:
        key = tuple([(write.variable_id, write.operation, write.shape) for write in writes])
        arrangement = self._arrangements.get(key)
        if arrangement is None:
            if not writes:
                raise ProtocolError("a layout has no writes")
            for write in writes:
                check_write(self._specs, write, DENSE, self._num_replicas)
            arrangement = self._arrangements[key] = Arrangement(arrange(writes, self._specs))
        return Plan(writes, arrangement)


@value_class(eq=False)
class Arrival:
    """The arrival of one replica at one collective, or at several consecutive collectives."""

    start: int  # position of the first collective
    stop: int  # position after the last collective
    message: CollectiveMessage
    plan: Plan | None  # None if the message is not a contribution
    at_s: float  # time at which the message arrived

    def at(self, position: int) -> Collective:
        """Return the replica's operation at a position from `start` to `stop` - 1."""
        if self.plan is not None:
            return self.plan.writes[position - self.start]
        assert not isinstance(self.message, Contribution), "a contribution has a plan"
        return self.message.write if isinstance(self.message, ONE_WRITE) else self.message

    def values_at(self, position: int) -> Sequence[Array]:
        """Return the replica's values at a position; empty if the aggregation does not use them."""
        if isinstance(self.message, Combine):
            return self.message.leaves
        if self.plan is None or not isinstance(self.message, Contribution):
            return ()
        writes, index = self.plan.writes, position - self.start
        value = unpack(writes, self.plan.arrangement.buckets, self.message.buckets)[index]
        return (value,) if value.shape == writes[index].shape else ()


@value_class(eq=False)
class Collectives:
    """Consecutive collectives at which all replicas of the call, or of a group, have arrived.

    Replicas that have joined are not among the arrivals, unless all replicas have joined.
    """

    start: int
    stop: int
    arrivals: Sequence[Arrival]  # in replica order; an arrival may extend past `stop`
    replica_ids: Sequence[int]  # the replica of each arrival
    joined: Mapping[int, Join] | None = None  # replica → its message, if replicas have joined

    @property
    def arrangement(self) -> Arrangement | None:
        """Return the arrangement that all arrivals have; None if their arrangements differ.

        The result is also None if an arrival is not a contribution to exactly these collectives.
        """
        first = self.arrivals[0].plan
        if first is None:
            return None
        for arrival in self.arrivals:
            if arrival.start != self.start or arrival.stop != self.stop:
                return None
            if arrival.plan is None or arrival.plan.arrangement is not first.arrangement:
                return None
        return first.arrangement


Wait = Combine | MergeCall | Join | Waiting | SyncRequest | HostCall | Meeting | BoundedWrite
"""Messages after which a replica can wait for an answer."""


@dataclass(slots=True)
class Participant:
    """One replica in one call."""

    in_script: bool = False  # whether the function is a whole script (`CallSite.is_script`)
    status: Status = Status.RUNNING
    waits_for: Wait | None = None
    ended: Returned | Raised | None = None
    last: Plan | Write | Waiting | str | None = None
    """The plan, the write or the wait in its last message. Of another message, only the name of the
    operation is stored, because the message may be large."""

    last_at: str = ""  # file:line of the program in the last message, unless `last` contains it
    asked_s: float = 0.0  # the time of its last request to the program, or of its last meeting
    met_s: float = 0.0  # the time of its last publication, push, or ended barrier, send or receive
    lent_s: float = 0.0  # the time that the replica has waited for answers at `lent_at`
    lent_at: int = -1  # at how many collectives the replica had arrived during these waits

    @property
    def seen_at(self) -> str:
        """Return the location in the replica's last message; "" if there was no message."""
        last = self.last
        if isinstance(last, Plan):
            return last.writes[-1].location
        return last.location if isinstance(last, Write | Waiting) else self.last_at


@dataclass(slots=True, eq=False)
class Member:
    """One replica of a pairing."""

    replica_id: int
    participant: Participant
    position: int = 0  # the position of the replica's next collective
    arrivals: deque[Arrival] = field(default_factory=deque)  # at collectives that are not complete

    @property
    def has_joined(self) -> bool:
        """Return whether the replica waits until all replicas have joined."""
        return bool(self.arrivals) and self.arrivals[-1].stop == ENDLESS

    def collective(self, position: int) -> Collective | None:
        """Return the replica's operation at a pending collective; None if it did not arrive."""
        arrival = self._arrival(position)
        return None if arrival is None else arrival.at(position)

    def values(self, position: int) -> Sequence[Array]:
        """Return the replica's values for a pending collective."""
        arrival = self._arrival(position)
        return () if arrival is None else arrival.values_at(position)

    def _arrival(self, position: int) -> Arrival | None:
        return next((one for one in self.arrivals if one.start <= position < one.stop), None)
