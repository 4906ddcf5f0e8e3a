"""The model of one variable: every state that it may have, computed in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.properties.comparing import same_bits
from tests.properties.operation_model import Array, changed, joined, merged, scattered
from tests.properties.steps import BareRows
from tests.seeded.programs import AVERAGED, is_local, merges
from varsim.spec import Operation, VariableAggregation, VariableSpec, VariableSynchronization

if TYPE_CHECKING:
    from tests.seeded.model import ModelCall

Operand = Array | BareRows
Write = tuple[Operation, Operand]


def applied(component: Array, operation: Operation, operand: Operand) -> Array:
    """Return a component after a write of a value or of rows."""
    if isinstance(operand, tuple):
        return scattered(component, operation, operand)
    return changed(component, operation, operand)


def combined(operands: Sequence[Operand], aggregation: VariableAggregation) -> Operand:
    """Combine the replicas' values or rows into one."""
    if isinstance(operands[0], tuple):
        return joined(operands, aggregation)
    return merged(operands, aggregation)


@dataclass(slots=True)
class World:
    """One possible state of a variable."""

    components: list[Array]
    settled: int = 0  # number of deferred writes of each replica that are in `components`
    written: list[list[Write]] = field(default_factory=list)  # later deferred writes, per replica
    starts: dict[int, list[int]] = field(default_factory=dict)  # call → numbers of deferred writes
    happened: dict[int, int] = field(default_factory=dict)  # failed call → number of collectives

    def copy(self) -> World:
        written = [list(own) for own in self.written]
        return World([*self.components], self.settled, written, {**self.starts}, {**self.happened})

    def apply(self, writes: Sequence[Write]) -> None:
        """Apply one write to each component."""
        both = zip(self.components, writes, strict=True)
        self.components = [applied(component, *write) for component, write in both]

    def count(self, replica_id: int) -> int:
        """Return how many deferred writes a replica has made."""
        return self.settled + len(self.written[replica_id])

    def exchange(self, count: int, aggregation: VariableAggregation) -> bool:
        """Apply the first `count` deferred writes of all replicas; return False if they differ."""
        if count < self.settled or any(self.count(i) < count for i in range(len(self.written))):
            return False
        for writes in zip(*(own[: count - self.settled] for own in self.written), strict=True):
            if len({operation for operation, _ in writes}) > 1:
                return False
            write = writes[0][0], combined([operand for _, operand in writes], aggregation)
            self.apply([write] * len(self.components))
        self.written = [own[count - self.settled :] for own in self.written]
        self.settled = count
        return True


class Variable:
    """The model of one variable."""

    def __init__(self, spec: VariableSpec, value: Array, count: int) -> None:
        self.spec = spec
        self.merges = merges(spec)
        self.is_deferred = self.merges and spec.synchronization is VariableSynchronization.AUTO
        self.is_averaged = spec.synchronization == AVERAGED
        self.is_local = is_local(spec)
        self.worlds = [World([value] * count, written=[[] for _ in range(count)])]
        self.since = [0] * count  # writes of each replica since the last average
        self.last: list[tuple[ModelCall, int] | None] = [None] * count
        """The last collective of each replica for this variable."""

        self.known = set(range(count))
        """The replicas whose components the program knows without a fetch, for certain."""

        self.late: list[list[tuple[int, Write]]] = [[] for _ in range(count)]
        """Per replica: the ids of ended calls, and writes of the program.

        The replica applies such a write after it has left the call.
        """

        self.is_stale = [False] * count
        """Per replica: whether it is in an ended call and may lack a later write of the program."""

    def keep(self, possible: Callable[[World], bool], what: str) -> None:
        """Keep only the worlds in which something is possible."""
        worlds = [world for world in self.worlds if possible(world)]
        if not worlds:
            expected = [world.components for world in self.worlds]
            raise AssertionError(f"{self.spec.name} ({_settings(self.spec)}): {what}; {expected}")
        self.worlds = worlds

    def component(self, world: World, replica_id: int) -> Array:
        """Return a component as the program sees it: after all its own writes."""
        value = world.components[replica_id]
        for _, write in self.late[replica_id]:
            value = applied(value, *write)
        return value

    def shows(self, replica_id: int, value: Array, world: World) -> bool:
        """Return whether the program can fetch a value from a replica."""
        return same_bits(self.component(world, replica_id), value)


def _settings(spec: VariableSpec) -> str:
    named = getattr(spec.synchronization, "name", spec.synchronization)
    return f"{named}, {spec.aggregation.name}, {spec.dtype}, {spec.shape}"


def exchanges(variable: Variable, world: World) -> Iterable[World]:
    """Yield the world after each possible exchange of deferred writes."""
    most = min(world.count(i) for i in range(len(world.written)))
    for count in range(world.settled, most + 1):
        fork = world.copy()
        if fork.exchange(count, variable.spec.aggregation):
            yield fork
