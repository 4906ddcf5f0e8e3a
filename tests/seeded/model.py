"""The plain model: what every component must be, computed in NumPy in the order of the program.

The model gets the operations of the replicas' programs, and never looks into the states. It pairs
the k-th collectives of all replicas itself. Where the moment of a failure decides how many
collectives have happened, a variable has several *worlds*: one for each possible number. Every
effect applies to all worlds, and every value that is seen drops the worlds that contradict it. A
value that contradicts all worlds is an error of the states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.properties.comparing import same_bits
from tests.properties.operation_model import Array, merged
from tests.seeded.programs import EVERY, Call
from tests.seeded.worlds import (
    Operand,
    Variable,
    World,
    Write,
    applied,
    combined,
    exchanges,
)
from varsim.spec import Operation, VariableAggregation, VariableSpec

FIRST = VariableAggregation.ONLY_FIRST_REPLICA


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What one replica does at one position of a call."""

    kind: tuple[Any, ...]  # equal for collectives that can be paired
    operand: Any = None
    variable: Variable | None = None


class ModelCall:
    """One call: the collectives of each replica, and how the replicas' functions have ended."""

    def __init__(self, call_id: int, call: Call, count: int) -> None:
        self.call_id = call_id
        self.call = call
        self.entries: list[list[Entry]] = [[] for _ in range(count)]
        self.ends: list[str] = [""] * count  # "returned" or "raised"
        self.applied = 0  # number of collectives that have happened for certain
        self.over = False
        self.by_program = False  # whether the program has abandoned the call
        self.certain = True
        """Whether all replicas come to the position at which the call fails.

        After a loss, an interrupt or a deadline this is not certain.
        """
        self.must_succeed = False

    @property
    def leading(self) -> int:
        """Return the number of collectives that all replicas have entered alike."""
        paired = zip(*self.entries, strict=False)
        at = 0
        for at, entries in enumerate(paired, 1):
            if len({entry.kind for entry in entries}) > 1:
                return at - 1
        return at

    @property
    def is_even(self) -> bool:
        """Return whether all replicas have done the same collectives until now."""
        return {len(own) for own in self.entries} == {self.leading}


class Model:
    """The variables and calls of one cluster."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.variables: dict[int, Variable] = {}  # index of the variable → variable
        self._dropped: dict[int, Variable] = {}
        self.frames: list[list[ModelCall]] = [[] for _ in range(count)]  # the replicas' functions
        self._pending: list[list[ModelCall]] = [[] for _ in range(count)]  # calls to start there
        self.lost: set[int] = set()
        self._running = 0  # number of calls that run

    def create(self, index: int, spec: VariableSpec, value: Array) -> None:
        self.variables[index] = Variable(spec, value, self.count)

    def forget(self, index: int) -> None:
        self._dropped[index] = self.variables.pop(index)

    def variable(self, index: int) -> Variable:
        """Return a variable, even if only a function of an ended call still uses it."""
        return self.variables.get(index) or self._dropped[index]

    # ------------------------------------------------------------ calls

    def begin(self, call_id: int, call: Call) -> ModelCall:
        """Start a call."""
        model_call = ModelCall(call_id, call, self.count)
        for pending in self._pending:
            pending.append(model_call)
        self._running += 1
        even = True
        for variable in self.variables.values():
            if not variable.merges:
                variable.known.clear()
            even = even and len(set(variable.since)) == 1
            if variable.is_deferred:
                for world in variable.worlds:
                    counts = [world.count(i) for i in range(self.count)]
                    world.starts[call_id] = counts
                    even = even and len(set(counts)) == 1
        model_call.must_succeed = call.is_clean and even
        return model_call

    def advance(self, call: ModelCall, stop: int) -> None:
        """Apply the collectives before a position, which have happened."""
        assert stop <= call.leading, f"collective {call.leading} of call {call.call_id} is uneven"
        if call.over:
            self._confirm(call, stop)
            return
        for position in range(call.applied, stop):
            entries = [own[position] for own in call.entries]
            variable = entries[0].variable
            if variable is not None:
                for world in variable.worlds:
                    _merge(variable, world, entries)
        call.applied = max(call.applied, stop)

    def _confirm(self, call: ModelCall, stop: int) -> None:
        """Drop the worlds in which a failed call has had fewer collectives."""
        for position in range(call.applied, stop):
            variable = call.entries[0][position].variable
            if variable is not None:
                what = f"collective {position} of call {call.call_id} has happened"
                variable.keep(partial(_has_happened, call, position), what)

    def succeed(self, call: ModelCall) -> None:
        """End a call that has succeeded."""
        assert ["returned"] * self.count == call.ends
        assert call.is_even, f"call {call.call_id} succeeds, but its collectives differ"
        self.advance(call, call.leading)
        call.over = True
        self._running -= 1
        for variable in self.variables.values():
            if variable.is_deferred:
                variable.keep(
                    lambda world: self._has_even_writes(world, call.call_id),
                    "the numbers of deferred writes differ",
                )

    def _has_even_writes(self, world: World, call_id: int) -> bool:
        """Return whether all replicas have made the same deferred writes in a call."""
        counts = [world.count(i) for i in range(self.count)]
        return len(set(counts)) == 1 or counts == world.starts.pop(call_id)

    def _is_even(self, world: World) -> bool:
        return len({world.count(i) for i in range(self.count)}) == 1

    def fail(self, call: ModelCall) -> None:
        """End a call that has failed; fork worlds that depend on the moment of the failure."""
        if call.certain:
            self.advance(call, call.leading)
        call.over = True
        self._running -= 1
        for variable in self.variables.values():
            if variable.is_deferred:
                variable.worlds = [
                    fork
                    for world in variable.worlds
                    for fork in _after_failure(variable, world, call.call_id)
                ]
        uncertain = {
            id(entry.variable): entry.variable
            for entry in call.entries[0][call.applied : call.leading]
            if entry.variable is not None
        }
        for variable in uncertain.values():
            variable.worlds = [
                fork for world in variable.worlds for fork in self._forks(call, variable, world)
            ]

    def _forks(self, call: ModelCall, variable: Variable, world: World) -> Iterable[World]:
        """Yield the world before and after each collective that may have happened."""
        world = world.copy()
        world.happened[call.call_id] = call.applied
        yield world
        for position in range(call.applied, call.leading):
            entries = [own[position] for own in call.entries]
            if entries[0].variable is variable:
                world = world.copy()
                _merge(variable, world, entries)
                world.happened[call.call_id] = position + 1
                yield world

    def lose(self, replica_ids: Iterable[int]) -> None:
        """Record all lost replicas. Deferred writes are never exchanged after the first loss."""
        before = bool(self.lost)
        self.lost.update(replica_ids)
        if before or not self.lost:
            return
        for variable in self.variables.values():
            if variable.is_deferred:
                variable.worlds = [
                    fork for world in variable.worlds for fork in exchanges(variable, world)
                ]

    # ------------------------------------------------------------ operations of replicas

    def enter(self, call: ModelCall, replica_id: int, entry: Entry) -> int:
        """Record the next collective of a replica; return its position."""
        call.entries[replica_id].append(entry)
        return len(call.entries[replica_id]) - 1

    def write(
        self,
        call: ModelCall,
        replica_id: int,
        variable: Variable,
        operation: Operation,
        operand: Operand,
    ) -> None:
        """Record a write of a replica."""
        if variable.is_deferred:
            if not call.over:  # otherwise the write is dropped with the call
                for world in variable.worlds:
                    world.written[replica_id].append((operation, operand))
        elif variable.merges:
            sparse = isinstance(operand, tuple)
            self._contribute(call, replica_id, variable, operation, operand, sparse=sparse)
        else:
            if variable.is_averaged:
                self._prove(replica_id, variable)
            for world in variable.worlds:
                before = world.components[replica_id]
                world.components[replica_id] = applied(before, operation, operand)
            if variable.is_averaged:
                variable.since[replica_id] += 1
                if variable.since[replica_id] == EVERY:
                    variable.since[replica_id] = 0
                    self._contribute(call, replica_id, variable, Operation.ASSIGN, None)

    def own_write(
        self, replica_id: int, variable: Variable, operation: Operation, value: Operand
    ) -> None:
        """Record a direct write to one component."""
        for world in variable.worlds:
            before = world.components[replica_id]
            world.components[replica_id] = applied(before, operation, value)

    def _contribute(
        self,
        call: ModelCall,
        replica_id: int,
        variable: Variable,
        operation: Operation,
        operand: Operand | None,
        *,
        sparse: bool = False,
    ) -> None:
        kind = "write", id(variable), operation, sparse
        position = self.enter(call, replica_id, Entry(kind, operand, variable))
        variable.last[replica_id] = call, position

    def _prove(self, replica_id: int, variable: Variable) -> None:
        """Record that a replica's last collective for a variable has happened, if its call runs."""
        last = variable.last[replica_id]
        if last is None:
            return
        call, position = last
        if call not in self.frames[replica_id]:
            return
        self.advance(call, position + 1)

    def read(self, replica_id: int, variable: Variable, value: Array, rows: Any = None) -> None:
        """Check a value that a replica has read."""
        if variable.is_stale[replica_id] and variable.merges:
            return  # the replica runs an ended call, and the program has written in the meantime
        self._prove(replica_id, variable)
        if variable.is_deferred:
            over = any(call.over for call in self.frames[replica_id])
            if over:
                return  # its own writes of the ended call may or may not have been exchanged
            self._exchange(variable, replica_id)

        def possible(world: World) -> bool:
            expected = world.components[replica_id]
            return same_bits(expected if rows is None else expected[rows], value)

        variable.keep(possible, f"replica {replica_id} reads {value}")

    def _exchange(self, variable: Variable, reader: int | None) -> None:
        """Record that deferred writes are exchanged, up to the last write of the reader."""
        if variable.is_deferred and not self.lost:
            variable.keep(
                lambda world: (
                    (reader is not None or self._is_even(world))
                    and world.exchange(world.count(reader or 0), variable.spec.aggregation)
                ),
                "the deferred writes cannot be exchanged",
            )

    def aborted(self, replica_id: int) -> None:
        """Record that an abort arrives: the replica counts writes from 0 again."""
        for variable in self.variables.values():
            variable.since[replica_id] = 0

    def starts(self, replica_id: int, call: ModelCall) -> None:
        """Record that a replica begins to run the function of a call."""
        self._pending[replica_id].remove(call)
        self.frames[replica_id].append(call)

    def leaves(self, replica_id: int) -> None:
        """Record that the innermost function of a replica has ended."""
        self.frames[replica_id].pop()
        inside = self._ended(replica_id)
        for variable in self.variables.values():
            variable.is_stale[replica_id] &= bool(inside)
            late = variable.late[replica_id]
            while late and late[0][0] < min(inside, default=late[0][0] + 1):
                self.own_write(replica_id, variable, *late.pop(0)[1])

    # ------------------------------------------------------------ operations of the program

    def _ended(self, replica_id: int) -> list[int]:
        """Return the ended calls whose function a replica runs, or will start."""
        calls = [*self.frames[replica_id], *self._pending[replica_id]]
        return [call.call_id for call in calls if call.over]

    def fetched(
        self, variable: Variable, replica_ids: Sequence[int], values: Sequence[Array], reader: Any
    ) -> None:
        """Check components that the program has fetched."""
        self._exchange(variable, reader)
        for i, value in zip(replica_ids, values, strict=True):
            variable.keep(
                partial(variable.shows, i, value), f"the program fetches {value} from replica {i}"
            )
        if not self._running:
            variable.known.update(replica_ids)

    def read_by_program(self, variable: Variable, value: Array, reader: Any) -> None:
        """Check a value that the program has read as the policy says."""
        self._exchange(variable, reader)
        gathers = not variable.merges and variable.spec.synchronization.name != "ON_WRITE"
        aggregation = variable.spec.aggregation if gathers else FIRST

        def possible(world: World) -> bool:
            every = [variable.component(world, i) for i in range(self.count)]
            return same_bits(merged(every, aggregation), value)

        if self.lost:
            variable.keep(lambda world: not any(world.written), "deferred writes are lost")
        variable.keep(possible, f"the program reads {value}")

    def written_by_program(
        self, variable: Variable, writes: dict[int, Write], reader: Any = None
    ) -> None:
        """Record writes of the program: replica_id → write."""
        self._exchange(variable, reader)
        for i, write in writes.items():
            inside = self._ended(i)
            if self._running or inside:
                variable.known.discard(i)
            elif write[0] is Operation.ASSIGN:
                variable.known.add(i)
            if inside and not variable.merges:
                variable.late[i].append((max(inside), write))
                continue
            variable.is_stale[i] = bool(inside)
            self.own_write(i, variable, *write)

    def may_be_uneven(self, variable: Variable, reader: int | None) -> bool:
        """Return whether an exchange of deferred writes can fail."""
        at = reader or 0
        return variable.is_deferred and any(
            not self._is_even(world)
            or not world.copy().exchange(world.count(at), variable.spec.aggregation)
            for world in variable.worlds
        )


def _has_happened(call: ModelCall, position: int, world: World) -> bool:
    return world.happened.get(call.call_id, call.applied) > position


def _merge(variable: Variable, world: World, entries: Sequence[Entry]) -> None:
    """Apply a collective write to all components of a world."""
    operation = entries[0].kind[2]
    operands = world.components if variable.is_averaged else [entry.operand for entry in entries]
    write = operation, combined(operands, variable.spec.aggregation)
    world.apply([write] * len(entries))


def _after_failure(variable: Variable, world: World, call_id: int) -> Iterable[World]:
    """Yield the world after a failed call, for each number of writes that it may have exchanged."""
    starts = world.starts.pop(call_id, None)
    if starts is None:
        yield world
        return
    for fork in exchanges(variable, world):
        for own, start in zip(fork.written, starts, strict=True):
            del own[max(0, start - fork.settled) :]
        yield fork
