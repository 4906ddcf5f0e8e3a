"""Random programs, as hypothesis strategies."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from tests.dtypes import DTYPES
from tests.properties.programs import (
    Action,
    Creation,
    CrossScatter,
    CrossWrite,
    Locals,
    MergeSteps,
    MergeWrite,
    RandomProgram,
    ReduceValues,
    ReduceVariable,
    RunStep,
    ScatterOwn,
    Step,
    UpdateOnReplicas,
    UpdateStep,
    WriteAlone,
)
from tests.properties.steps import (
    AllGatherStep,
    AllReduceStep,
    CombineStep,
    CrossRead,
    ReadAction,
    ScatterAction,
    WriteAction,
)
from varsim.extension_dtypes import is_extension, kind_of
from varsim.protocol.parts import CombineKind
from varsim.spec import SCATTERS, Operation, ReduceOp, VariableAggregation, VariableSynchronization

Draw = st.DrawFn

_NAMES: Final = "float16 float32 float64 bfloat16 int8 uint8 int32 int64 uint16 bool".split()
DRAWN: Final = tuple(dtype for dtype in DTYPES if dtype.name in _NAMES)
SHAPES: Final = ((), (3,), (0,), (2, 2))
LARGE: Final = (2, 20_000)
"""A shape large enough for shared memory or a separate frame, if an element has 4 bytes or more."""
WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)

synchronizations = st.sampled_from(VariableSynchronization)
aggregations = st.sampled_from(VariableAggregation)
writes = st.sampled_from(WRITES)
scatters = st.sampled_from(SCATTERS)
weights = st.integers(0, 3).map(float) | st.floats(0, 8)
reduce_ops = st.sampled_from(ReduceOp)
ops_of_numbers = reduce_ops.filter(lambda op: op not in {ReduceOp.ANY, ReduceOp.ALL})
dtypes = st.sampled_from(DRAWN)
shapes = st.sampled_from(SHAPES)


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Draw numbers of a dtype: floats that round but do not overflow, and integers that wrap."""
    match kind_of(dtype):
        case "b":
            return st.booleans()
        case "f":
            width: Any = 32 if is_extension(dtype) else 8 * dtype.itemsize
            return st.floats(-99, 99, width=width, allow_subnormal=False)
        case _:
            limits = np.iinfo(dtype)
            return st.integers(int(limits.min), int(limits.max))


@st.composite
def arrays(draw: Draw, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Draw an array of a dtype and shape."""
    size = int(np.prod(shape))
    if size > 1000:  # too many to be drawn one by one
        chance = np.random.default_rng(draw(st.integers(0, 2**32)))
        if kind_of(dtype) == "f":
            return chance.uniform(-99, 99, shape).astype(dtype)
        if dtype.kind == "b":
            return chance.integers(0, 2, shape).astype(dtype)
        limits = np.iinfo(dtype)
        return chance.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    numbers = draw(st.lists(elements(dtype), min_size=size, max_size=size))
    return np.array(numbers, dtype).reshape(shape)


@st.composite
def values_for(draw: Draw, creation: Creation, count: int) -> tuple[Any, ...]:
    """Draw one value per replica. Sometimes a value does not fit the variable."""
    dtype, shape = creation.initial.dtype, creation.initial.shape
    how = draw(st.sampled_from(["array"] * 8 + ["number"] * 3 + ["shape", "dtype", "strided"]))
    if how == "number" and shape == ():
        return tuple(draw(elements(dtype)) for _ in range(count))
    if how == "shape":
        shape = (*shape, 1)
    if how == "dtype":
        dtype = np.dtype("float32" if dtype == np.float64 else "float64")
    found = tuple(draw(arrays(dtype, shape)) for _ in range(count))
    if how == "strided":
        return tuple(np.asfortranarray(value) for value in found)
    return found


@st.composite
def rows_for(draw: Draw, creation: Creation, count: int, operation: Operation) -> Any:
    """Draw rows of a sparse write for each replica.

    All indices fit the variable, or each replica has one index that is too large. For a scalar,
    which has no rows, every index is too large. Products and quotients of floats stay small, and
    divisors of integers are above 0.
    """
    dtype, shape = creation.initial.dtype, creation.initial.shape
    num_rows = shape[0] if shape else 0
    beyond = not shape or draw(st.integers(0, 9)) == 0
    found = []
    for _ in range(count):
        most = 3 if num_rows else 0
        indices = draw(st.lists(st.integers(0, max(num_rows - 1, 0)), max_size=most))
        indices += [num_rows] * beyond
        values = draw(arrays(dtype, (len(indices), *shape[1:])))
        if operation is Operation.SCATTER_MUL and kind_of(dtype) == "f":
            values = np.clip(values, -1, 1).astype(dtype)
        if operation is Operation.SCATTER_DIV and kind_of(dtype) in "fiu":
            small = np.abs(values) < 1 if kind_of(dtype) == "f" else values < 1
            values = np.where(small, dtype.type(1), values).astype(dtype)
        found.append((tuple(indices), values))
    return tuple(found)


@st.composite
def creations(draw: Draw, shapes: st.SearchStrategy[tuple[int, ...]] = shapes) -> Creation:
    """Draw a variable with any settings."""
    initial = draw(arrays(draw(dtypes), draw(shapes)))
    return Creation(draw(synchronizations), draw(aggregations), initial)


def refused(creation: Creation) -> bool:
    """Return whether varsim refuses to create this variable."""
    mean = creation.aggregation is VariableAggregation.MEAN
    return mean and creation.initial.dtype.kind in "iub"


def merges(creation: Creation) -> bool:
    """Return whether a write in replica context is a collective."""
    on_write = (VariableSynchronization.AUTO, VariableSynchronization.ON_WRITE)
    aggregated = creation.aggregation is not VariableAggregation.NONE
    return creation.synchronization in on_write and aggregated


@st.composite
def number_tuples(draw: Draw, count: int, *, gathered: bool = False) -> tuple[Any, ...]:
    """Draw arrays to reduce or to gather."""
    dtype = draw(dtypes.filter(lambda dtype: dtype.kind != "b"))
    if not gathered:
        shape = draw(shapes)
        return tuple(draw(arrays(dtype, shape)) for _ in range(count))
    rows = [draw(st.integers(0, 2)) for _ in range(count)]
    return tuple(draw(arrays(dtype, (n, 2))) for n in rows)


@st.composite
def steps(draw: Draw, made: tuple[Creation, ...], usable: list[int], count: int) -> Step:
    """Draw an operation in cross-replica context."""
    index = draw(st.sampled_from(usable))
    kind = draw(
        st.sampled_from([CrossRead, CrossRead, Locals, ReduceVariable, ReduceValues, CrossWrite,
                         CrossWrite, CrossWrite, UpdateStep, CrossScatter])
    )  # fmt: skip
    if kind is ReduceVariable:
        return ReduceVariable(index, draw(reduce_ops))
    if kind is ReduceValues:
        return ReduceValues(draw(ops_of_numbers), draw(number_tuples(count)))
    if kind is CrossWrite:
        values = draw(values_for(made[index], count))
        return CrossWrite(index, draw(writes), values, draw(st.booleans()))
    if kind is CrossScatter:
        operation = draw(scatters)
        rows = draw(rows_for(made[index], draw(st.sampled_from([1, count])), operation))
        return CrossScatter(index, operation, rows)
    if kind is UpdateStep:
        return UpdateStep(index, draw(writes), draw(values_for(made[index], count)))
    return CrossRead(index) if kind is CrossRead else Locals(index)


@st.composite
def combine_steps(draw: Draw, count: int) -> CombineStep:
    """Draw a collective that TensorFlow does not have; replica 0 always has a weight."""
    kind = draw(st.sampled_from([one for one in CombineKind if one is not CombineKind.ALL_GATHER]))
    return CombineStep(
        kind,
        draw(ops_of_numbers.filter(lambda op: op is not ReduceOp.MEAN)),
        draw(number_tuples(count)),
        draw(st.integers(0, count - 1)),
        draw(st.booleans()),
        (draw(weights) + 1.0, *(draw(weights) for _ in range(count - 1))),
    )


@st.composite
def actions(draw: Draw, made: tuple[Creation, ...], usable: list[int], count: int) -> Action:
    """Draw an operation of replicas."""
    index = draw(st.sampled_from(usable))
    creation = made[index]
    kind = draw(
        st.sampled_from([ReadAction] * 2 + [WriteAction] * 3 + [
            WriteAlone, AllReduceStep, AllGatherStep, CombineStep, MergeWrite, MergeSteps,
            UpdateOnReplicas, ScatterAction, ScatterAction, ScatterOwn])
    )  # fmt: skip
    if kind is ReadAction:
        return ReadAction(index, tuple(draw(st.booleans()) for _ in range(count)))
    if kind is AllReduceStep:
        return AllReduceStep(draw(ops_of_numbers), draw(number_tuples(count)))
    if kind is CombineStep:
        return draw(combine_steps(count))
    if kind is AllGatherStep:
        return AllGatherStep(draw(number_tuples(count, gathered=True)))
    if kind in {ScatterAction, ScatterOwn}:
        operation = draw(scatters)
        rows = draw(rows_for(creation, count, operation))
        if kind is ScatterOwn and not merges(creation):
            return ScatterOwn(index, operation, rows)
        return ScatterAction(index, operation, rows)
    if kind is MergeSteps:
        inner = st.lists(steps(made, usable, count), min_size=1, max_size=3)
        return MergeSteps(tuple(draw(inner)))
    values = draw(values_for(creation, count))
    if kind is WriteAlone and not merges(creation):
        chosen = tuple(draw(st.none() | writes) for _ in range(count))
        return WriteAlone(index, chosen, values)
    if kind is MergeWrite:
        return MergeWrite(index, draw(writes), values)
    if kind is UpdateOnReplicas:
        return UpdateOnReplicas(index, draw(writes), values)
    return WriteAction(index, draw(writes), values)


@st.composite
def runs(draw: Draw, made: tuple[Creation, ...], usable: list[int], count: int) -> RunStep:
    """Draw a call of all replicas, or of the first replicas.

    A MergeWrite and an UpdateOnReplicas write a value of every replica. So a call of the first
    replicas has neither.
    """
    taken = draw(st.lists(actions(made, usable, count), min_size=1, max_size=5))
    present = draw(st.sampled_from([count] * 3 + [*range(1, count)]))
    if present < count:
        taken = [one for one in taken if not isinstance(one, MergeWrite | UpdateOnReplicas)]
    return RunStep(tuple(taken), present if taken and present < count else None)


@st.composite
def programs(
    draw: Draw, num_replicas: st.SearchStrategy[int], *, with_large: bool = False
) -> RandomProgram:
    """Draw a program that reads every component at its end.

    Args:
        with_large: Whether one of its variables is large.
    """
    count = draw(num_replicas)
    made = tuple(draw(st.lists(creations(), min_size=1, max_size=3)))
    if with_large:
        made = (draw(creations(st.just(LARGE))), *made[1:])
    usable = [i for i, creation in enumerate(made) if not refused(creation)]
    if not usable:
        return RandomProgram(count, made, ())
    step = steps(made, usable, count) | runs(made, usable, count)
    taken = draw(st.lists(step, min_size=1, max_size=6))
    return RandomProgram(count, made, (*taken, *map(Locals, usable), *map(CrossRead, usable)))
