"""One replica's part in one running call, as the coordinator sees it."""

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
    Contribution,
    HostCall,
    Layout,
    Meeting,
    MergeCall,
    Point,
    Raised,
    Returned,
    SyncRequest,
    Waiting,
    Write,
)
from varsim.spec import Array, VariableSpec


class Status(Enum):
    """What a replica of a call is doing, as far as its messages tell."""

    RUNNING = "runs"
    WAITING = "waits"
    ENDED = "has ended"


class Arrangement:
    """How some writes lie in buckets: one object for all layouts that differ only in places."""

    __slots__ = ("__weakref__", "buckets")

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.buckets = buckets


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a layout's id stands for, once a contribution has named it."""

    writes: tuple[Write, ...]
    arrangement: Arrangement


class Plans:
    """The layouts that every replica has told."""

    def __init__(self, num_replicas: int, specs: Mapping[int, VariableSpec]) -> None:
        self._specs = specs
        self._of_replica: list[dict[int, Plan | Layout]] = [{} for _ in range(num_replicas)]
        self._arrangements: WeakValueDictionary[tuple[object, ...], Arrangement] = (
            WeakValueDictionary()
        )

    def learn(self, replica_id: int, layout: Layout) -> None:
        """A replica tells a layout. It may be of a call that has failed, and never be used."""
        self._of_replica[replica_id][layout.layout_id] = layout

    def plan(self, replica_id: int, layout_id: int) -> Plan:
        """What a contribution of that replica consists of.

        Raises:
            ProtocolError: It has not told such a layout, or it names what is no variable.
        """
        plan = self._of_replica[replica_id].get(layout_id)
        if plan is None:
            raise ProtocolError(f"replica {replica_id} has told no layout {layout_id}")
        if isinstance(plan, Layout):
            plan = self._of_replica[replica_id][layout_id] = self._plan(plan.writes)
        return plan

    def _plan(self, writes: tuple[Write, ...]) -> Plan:
        key = tuple([(write.variable_id, write.operation, write.shape) for write in writes])
        arrangement = self._arrangements.get(key)
        if arrangement is None:
            if not all(write.variable_id in self._specs for write in writes):
                raise ProtocolError("a layout names a variable that there is not")
            arrangement = self._arrangements[key] = Arrangement(arrange(writes, self._specs))
        return Plan(writes, arrangement)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one replica came with to one meeting point, or to several in a row."""

    index: int  # of the first
    stop: int  # of the one after the last
    meeting: Meeting
    plan: Plan | None  # of a contribution
    at_s: float  # when it came

    def at(self, index: int) -> Point:
        """What it did at one of them."""
        if self.plan is not None:
            return self.plan.writes[index - self.index]
        assert not isinstance(self.meeting, Contribution), "a contribution has a plan"
        return self.meeting

    def values_at(self, index: int) -> Sequence[Array]:
        """What it brought to one of them; nothing if that does not count."""
        if isinstance(self.meeting, AllReduce):
            return self.meeting.leaves
        if self.plan is None or not isinstance(self.meeting, Contribution):
            return ()
        writes, place = self.plan.writes, index - self.index
        value = unpack(writes, self.plan.arrangement.buckets, self.meeting.buckets)[place]
        return (value,) if value.shape == writes[place].shape else ()


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """Meeting points to which all replicas have come, so that they can happen."""

    index: int
    stop: int
    parts: Sequence[Part]  # in replica order; a part may reach beyond these points

    @property
    def arrangement(self) -> Arrangement | None:
        """How the writes are arranged, if these are all replicas' whole, like contributions."""
        first = self.parts[0].plan
        if first is None:
            return None
        for part in self.parts:
            if part.index != self.index or part.stop != self.stop:
                return None
            if part.plan is None or part.plan.arrangement is not first.arrangement:
                return None
        return first.arrangement


@dataclass(slots=True)
class Participant:
    """One replica's part in one call."""

    status: Status = Status.RUNNING
    met: int = 0  # meeting points so far
    parts: deque[Part] = field(default_factory=deque)  # those that have not happened yet
    waits_for: AllReduce | AllGather | MergeCall | Waiting | SyncRequest | HostCall | None = None
    ended: Returned | Raised | None = None
    seen_at: str = ""  # file:line where it last waited, met or contributed

    def point(self, index: int) -> Point | None:
        """What it did at a meeting point that has not happened yet."""
        return next(
            (part.at(index) for part in self.parts if part.index <= index < part.stop), None
        )

    def values(self, index: int) -> Sequence[Array]:
        """What it brought to a meeting point that has not happened yet."""
        parts = (part for part in self.parts if part.index <= index < part.stop)
        return next((part.values_at(index) for part in parts), ())
