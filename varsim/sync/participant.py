"""The coordinator's view of one replica in one running call."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from weakref import WeakValueDictionary

from varsim.errors import ProtocolError
from varsim.protocol.buckets import Bucket, arrange, unpack
from varsim.protocol.messages import (
    AllGather,
    AllReduce,
    Collective,
    CollectiveMessage,
    Contribution,
    HostCall,
    Layout,
    MergeCall,
    Raised,
    Returned,
    Scatter,
    SyncRequest,
    Waiting,
    Write,
)
from varsim.spec import Array, VariableSpec


class Status(Enum):
    """The state of a replica of a call, according to its messages."""

    RUNNING = "runs"
    WAITING = "waits"
    ENDED = "has ended"


class Arrangement:
    """The arrangement of writes in buckets: shared by layouts that differ only in locations."""

    __slots__ = ("__weakref__", "buckets")

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.buckets = buckets


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The decoded layout of a contribution, by the layout's id."""

    writes: tuple[Write, ...]
    arrangement: Arrangement


class Plans:
    """The layouts that the replicas have sent."""

    def __init__(self, num_replicas: int, specs: Mapping[int, VariableSpec]) -> None:
        self._specs = specs
        self._of_replica: list[dict[int, Plan | Layout]] = [{} for _ in range(num_replicas)]
        self._arrangements: WeakValueDictionary[tuple[object, ...], Arrangement] = (
            WeakValueDictionary()
        )

    def learn(self, replica_id: int, layout: Layout) -> None:
        """Take a layout of a replica. It may belong to a failed call and stay unused."""
        self._of_replica[replica_id][layout.layout_id] = layout

    def plan(self, replica_id: int, layout_id: int) -> Plan:
        """Return the writes of a contribution of a replica.

        Raises:
            ProtocolError: The replica has not sent such a layout, or it names an unknown variable.
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
            if not all(write.variable_id in self._specs for write in writes):
                raise ProtocolError("a layout names a variable that does not exist")
            arrangement = self._arrangements[key] = Arrangement(arrange(writes, self._specs))
        return Plan(writes, arrangement)


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """The arrival of one replica at one collective, or at several in a row."""

    start: int  # position of the first
    stop: int  # position after the last
    message: CollectiveMessage
    plan: Plan | None  # of a contribution
    at_s: float  # when it came

    def at(self, position: int) -> Collective:
        """Return its operation at one of these positions."""
        if self.plan is not None:
            return self.plan.writes[position - self.start]
        assert not isinstance(self.message, Contribution), "a contribution has a plan"
        return self.message.write if isinstance(self.message, Scatter) else self.message

    def values_at(self, position: int) -> Sequence[Array]:
        """Return its values at one of these positions; empty if they do not count."""
        if isinstance(self.message, AllReduce):
            return self.message.leaves
        if self.plan is None or not isinstance(self.message, Contribution):
            return ()
        writes, index = self.plan.writes, position - self.start
        value = unpack(writes, self.plan.arrangement.buckets, self.message.buckets)[index]
        return (value,) if value.shape == writes[index].shape else ()


@dataclass(frozen=True, slots=True, eq=False)
class Collectives:
    """Consecutive collectives at which all replicas have arrived."""

    start: int
    stop: int
    arrivals: Sequence[Arrival]  # in replica order; an arrival may continue after these

    @property
    def arrangement(self) -> Arrangement | None:
        """Return the arrangement of the writes if the arrivals are whole, equal contributions."""
        first = self.arrivals[0].plan
        if first is None:
            return None
        for arrival in self.arrivals:
            if arrival.start != self.start or arrival.stop != self.stop:
                return None
            if arrival.plan is None or arrival.plan.arrangement is not first.arrangement:
                return None
        return first.arrangement


@dataclass(slots=True)
class Participant:
    """One replica in one call."""

    status: Status = Status.RUNNING
    position: int = 0  # of its next collective
    arrivals: deque[Arrival] = field(default_factory=deque)  # those that have not happened yet
    waits_for: AllReduce | AllGather | MergeCall | Waiting | SyncRequest | HostCall | None = None
    ended: Returned | Raised | None = None
    seen_at: str = ""  # file:line of its last message

    def collective(self, position: int) -> Collective | None:
        """Return its operation at a pending collective; None if it has not arrived."""
        return next(
            (
                arrival.at(position)
                for arrival in self.arrivals
                if arrival.start <= position < arrival.stop
            ),
            None,
        )

    def values(self, position: int) -> Sequence[Array]:
        """Return its values for a pending collective."""
        arrivals = (
            arrival for arrival in self.arrivals if arrival.start <= position < arrival.stop
        )
        return next((arrival.values_at(position) for arrival in arrivals), ())
