"""Random programs for states without shells: variables of all policies, calls, and mistakes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.properties.operation_model import (
    Array,
    BareComponentScatter,
    BareComponentWrite,
    BareFetch,
    BareOperation,
    BareProgramScatter,
    BareProgramWrite,
)
from tests.properties.steps import (
    AllGatherStep,
    AllReduceStep,
    BareRows,
    CombineStep,
    CrossRead,
    ReadAction,
    ScatterAction,
    WriteAction,
)
from varsim.protocol.parts import CombineKind
from varsim.spec import (
    CustomSynchronization,
    Operation,
    ReduceOp,
    Synchronization,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.policies.custom import register
from varsim.sync.policies.local_sgd import LocalSGD

NONE, SUM, MEAN, FIRST = VariableAggregation
EVERY = 3
"""The number of writes after which the components of a LocalSGD variable are averaged."""

register(LocalSGD(EVERY))
AVERAGED = CustomSynchronization(LocalSGD(EVERY).name)
AUTO, ON_WRITE, ON_READ, LOCAL = (
    VariableSynchronization.AUTO,
    VariableSynchronization.ON_WRITE,
    VariableSynchronization.ON_READ,
    VariableSynchronization.NONE,
)
POLICIES: tuple[tuple[Synchronization, tuple[VariableAggregation, ...]], ...] = (
    (ON_WRITE, (SUM, MEAN, FIRST)),
    (ON_WRITE, (SUM, MEAN, FIRST, NONE)),
    (AUTO, (SUM, MEAN, FIRST)),
    (ON_READ, (SUM, MEAN, FIRST, NONE)),
    (LOCAL, (NONE, SUM)),
    (AVERAGED, (MEAN,)),
)
DENSE = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
COMBINING = (CombineKind.REDUCE_SCATTER, CombineKind.BROADCAST, CombineKind.SCAN)
OF_NUMBERS = tuple(op for op in ReduceOp if op not in {ReduceOp.ANY, ReduceOp.ALL})
SHAPES: tuple[tuple[int, ...], ...] = ((), (), (2,), (3, 2))

# ---------------------------------------------------------------- steps of a replica


@dataclass(frozen=True, slots=True, eq=False)
class ReadRows:
    """Every replica reads rows of its component."""

    variable: int
    indices: Array


@dataclass(frozen=True, slots=True, eq=False)
class OwnWrite:
    """Every replica writes its own component directly."""

    variable: int
    operation: Operation
    values: tuple[Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """All replicas enter a merge_call, whose function performs `doings`."""

    doings: tuple[Doing, ...]
    catches: bool  # whether the function catches the failures of its calls and operations
    raises: bool


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """Some replicas request operations in the program's process; None stands for no request."""

    doings: tuple[tuple[BareOperation, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Raise:
    """This replica raises an exception."""


@dataclass(frozen=True, slots=True)
class Stall:
    """This replica makes no progress for some time."""


Step = (
    WriteAction
    | ScatterAction
    | ReadAction
    | ReadRows
    | OwnWrite
    | AllReduceStep
    | AllGatherStep
    | CombineStep
    | Merge
    | Host
    | Raise
    | Stall
)

# ---------------------------------------------------------------- doings of the program


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One `strategy.run`: the steps of each replica."""

    scripts: tuple[tuple[Step, ...], ...]
    is_clean: bool  # whether all replicas have the same steps, and no step fails


@dataclass(frozen=True, slots=True)
class Create:
    """The program creates a variable."""

    variable: int
    value: Array


@dataclass(frozen=True, slots=True)
class Forget:
    """The program drops a variable."""

    variable: int


@dataclass(frozen=True, slots=True)
class Save:
    """The program saves a checkpoint of all components."""

    is_deleted: bool  # whether the file is deleted later


@dataclass(frozen=True, slots=True)
class Restart:
    """The program calls `strategy.restart()`."""

    is_torn: bool  # whether an interrupt has broken the strategy, so that no replica is used


@dataclass(frozen=True, slots=True, eq=False)
class AssignComponents:
    """The program assigns some components directly."""

    variable: int
    values: dict[int, Array]


Doing = Call | Create | Forget | Save | Restart | CrossRead | AssignComponents | BareOperation


@dataclass(frozen=True, slots=True, eq=False)
class SeededProgram:
    """A program, and the specs of all variables that it creates."""

    num_replicas: int
    specs: tuple[VariableSpec, ...]
    doings: tuple[Doing, ...]


def fitted(doing: Doing, count: int) -> Doing | None:
    """Return the part of a doing for the first `count` replicas; None if nothing is left."""
    match doing:
        case Call(scripts=scripts):
            return replace(doing, scripts=scripts[:count])
        case BareFetch(variable=variable, replica_ids=replica_ids):
            left = tuple(i for i in replica_ids if i < count)
            return BareFetch(variable, left) if left else None
        case AssignComponents(variable=variable, values=values):
            some = {i: value for i, value in values.items() if i < count}
            return AssignComponents(variable, some) if some else None
        case BareComponentWrite(replica_id=i) | BareComponentScatter(replica_id=i):
            return doing if i < count else None
        case _:
            return doing


# ---------------------------------------------------------------- drawing


def merges(spec: VariableSpec) -> bool:
    """Return whether a write in replica context combines the values of all replicas."""
    return spec.aggregation is not NONE and spec.synchronization in {ON_WRITE, AUTO}


def is_local(spec: VariableSpec) -> bool:
    """Return whether a write in replica context only changes the replica's own component."""
    return not merges(spec) and spec.synchronization != AVERAGED


class Drawing:
    """Draw one program. All numbers are multiples of 12.

    So the additions, the means and the shares of a sum of at most 4 replicas are exact, in any
    order.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.count = rng.choice((1, 2, 2, 2, 3, 3, 4))
        self.specs: list[VariableSpec] = []
        self._alive: list[int] = []

    def program(self) -> SeededProgram:
        rng = self._rng
        doings: list[Doing] = [self._create() for _ in range(rng.randint(1, 4))]
        doings.extend(self._doing() for _ in range(rng.randint(2, 6)))
        return SeededProgram(self.count, tuple(self.specs), tuple(doings))

    def _doing(self) -> Doing:
        chance = self._rng.random()
        if chance < 0.05:
            return self._create()
        if chance < 0.08 and len(self._alive) > 1:
            return Forget(self._alive.pop(self._rng.randrange(len(self._alive))))
        if chance < 0.13:
            return Save(is_deleted=self._rng.random() < 0.1)
        if chance < 0.15:
            return Restart(is_torn=self._rng.random() < 0.3)
        return self._call(depth=0) if chance < 0.7 else self._operation()

    def _create(self) -> Create:
        rng, variable = self._rng, len(self.specs)
        synchronization, aggregations = rng.choice(POLICIES)
        aggregation = rng.choice(aggregations)
        can_divide = aggregation is MEAN
        dtype = np.dtype(rng.choice(("float64", "float32") if can_divide else ("float64", "int64")))
        spec = VariableSpec(
            variable_id=variable + 1,
            name=f"v{variable}",
            shape=rng.choice(SHAPES),
            dtype=dtype,
            requested=synchronization,
            synchronization=synchronization,
            aggregation=aggregation,
            trainable=True,
        )
        self.specs.append(spec)
        self._alive.append(variable)
        return Create(variable, self._value(variable))

    # ------------------------------------------------------------ values

    def _numbers(self, shape: Sequence[int | None], dtype: Any) -> Array:
        shape = [size or 0 for size in shape]
        size = int(np.prod(shape))
        numbers = [12 * self._rng.randint(-4, 4) for _ in range(size)]
        return np.array(numbers, dtype).reshape(shape)

    def _value(self, variable: int) -> Array:
        return self._numbers(self.specs[variable].shape, self.specs[variable].dtype)

    def _values(self, variable: int) -> tuple[Array, ...]:
        return tuple(self._value(variable) for _ in range(self.count))

    def _rows(self, variable: int) -> BareRows:
        spec, rng = self.specs[variable], self._rng
        first, *others = spec.shape
        indices = tuple(rng.randrange(first or 1) for _ in range(rng.randint(0, 3)))
        return indices, self._numbers([len(indices), *others], spec.dtype)

    def _sparse(self, spec: VariableSpec) -> Operation | None:
        """Draw the operation of a sparse write; None if the variable cannot have one."""
        if not spec.shape or spec.synchronization is ON_READ:
            return None
        possible = [Operation.SCATTER_ADD, Operation.SCATTER_SUB]
        if spec.aggregation not in {SUM, MEAN}:
            possible.append(Operation.SCATTER_UPDATE)
        return self._rng.choice(possible)

    # ------------------------------------------------------------ operations of the program

    def _operation(self) -> BareOperation | CrossRead | AssignComponents:
        rng, variable = self._rng, self._rng.choice(self._alive)
        spec, replica_id = self.specs[variable], rng.randrange(self.count)
        sparse, operation = self._sparse(spec), rng.choice(DENSE)
        match rng.choice("read read fetch fetch write write component assign rows row".split()):
            case "read":
                return CrossRead(variable)
            case "fetch":
                chosen = rng.sample(range(self.count), rng.randint(1, self.count))
                return BareFetch(variable, tuple(chosen))
            case "component":
                return BareComponentWrite(variable, replica_id, operation, self._value(variable))
            case "assign":
                chosen = rng.sample(range(self.count), rng.randint(1, self.count))
                return AssignComponents(variable, {i: self._value(variable) for i in chosen})
            case "rows" if sparse is not None:
                return BareProgramScatter(variable, sparse, (self._rows(variable),))
            case "row" if sparse is not None:
                return BareComponentScatter(variable, replica_id, sparse, self._rows(variable))
            case _:
                return BareProgramWrite(variable, operation, (self._value(variable),), same=True)

    def _request(self, replica_id: int) -> tuple[BareOperation, ...]:
        """Draw what the program does for a replica while other replicas run."""
        variable = self._rng.choice(self._alive)
        spec = self.specs[variable]
        doings: list[BareOperation] = [BareFetch(variable, (replica_id,))]
        if is_local(spec) and self._rng.random() < 0.5:
            operation, value = self._rng.choice(DENSE), self._value(variable)
            doings.insert(0, BareComponentWrite(variable, replica_id, operation, value))
        return tuple(doings)

    # ------------------------------------------------------------ calls

    def _call(self, depth: int) -> Call:
        rng = self._rng
        steps = [self._step(depth) for _ in range(rng.randint(1, 7))]
        scripts = [list(steps) for _ in range(self.count)]
        is_clean = not any(isinstance(step, Merge) for step in steps)
        if rng.random() < 0.35:
            is_clean = False
            for _ in range(rng.choice((1, 1, 2))):
                self._spoil(rng.choice(scripts), depth)
        elif rng.random() < 0.1:
            script = rng.choice(scripts)
            script.insert(rng.randint(0, len(script)), Stall())
        return Call(tuple(map(tuple, scripts)), is_clean)

    def _spoil(self, script: list[Step], depth: int) -> None:
        """Let one replica do something other than the other replicas."""
        rng = self._rng
        at = rng.randint(0, len(script))
        match rng.choice("raise raise return skip insert insert stall".split()):
            case "raise":
                script.insert(at, Raise())
            case "return":
                del script[at:]
            case "skip":
                del script[at : at + 1]
            case "insert":
                script.insert(at, self._step(depth))
            case _:
                script.insert(at, Stall())

    def _step(self, depth: int) -> Step:
        rng, variable = self._rng, self._rng.choice(self._alive)
        spec, sparse = self.specs[variable], self._sparse(self.specs[variable])
        kinds = (
            "write write write write read read rows own reduce gather combine merge host".split()
        )
        match rng.choice(kinds):
            case "read" if sparse is not None and rng.random() < 0.3:
                return ReadRows(variable, np.array(self._rows(variable)[0], np.int64))
            case "read":
                return ReadAction(variable, tuple(rng.random() < 0.8 for _ in range(self.count)))
            case "rows" if sparse is not None:
                rows = tuple(self._rows(variable) for _ in range(self.count))
                return ScatterAction(variable, sparse, rows)
            case "own" if is_local(spec):
                return OwnWrite(variable, rng.choice(DENSE), self._values(variable))
            case "reduce":
                values = tuple(self._numbers((2,), "float64") for _ in range(self.count))
                return AllReduceStep(rng.choice(OF_NUMBERS), values)
            case "combine":
                values = tuple(self._numbers((2,), "float64") for _ in range(self.count))
                op = rng.choice([op for op in OF_NUMBERS if op is not ReduceOp.MEAN])
                root, exclusive = rng.randrange(self.count), rng.random() < 0.5
                return CombineStep(rng.choice(COMBINING), op, values, root, exclusive)
            case "gather":
                sizes = [rng.randint(0, 2) for _ in range(self.count)]
                return AllGatherStep(tuple(self._numbers((size,), "int64") for size in sizes))
            case "merge":
                return self._merge(depth)
            case "host":
                each = [self._request(i) if rng.random() < 0.7 else None for i in range(self.count)]
                return Host(tuple(each))
            case _:
                return WriteAction(variable, rng.choice(DENSE), self._values(variable))

    def _merge(self, depth: int) -> Merge:
        rng = self._rng
        doings: list[Doing] = [self._operation() for _ in range(rng.randint(0, 2))]
        if depth < 2 and rng.random() < 0.4:
            doings.insert(rng.randint(0, len(doings)), self._call(depth + 1))
        return Merge(tuple(doings), catches=rng.random() < 0.5, raises=rng.random() < 0.1)
