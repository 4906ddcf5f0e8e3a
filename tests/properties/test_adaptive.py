"""AUTO under auto="adaptive" equals ON_WRITE: integers exactly, floats within rounding.

The bound is found as follows. A variable is written K times, by N replicas together or by the
program. M is the sum of the magnitudes of its first value and of all written values. u is half of
its dtype's eps: the largest relative error of one operation. Under ON_WRITE a written number is
used in N - 1 additions over the replicas, in at most one division, and in one addition to the
mirror for its own write and for each later write: in at most n = K + N operations. Adaptive first
adds up k writes, and then adds them to the mirror once instead of k times. These are k - 1 more
additions of writes and k - 1 fewer to the mirror, so again at most n operations. Each operation
multiplies the number by 1 + d, |d| <= u. So each of the two values differs from the exact value by
at most M n u / (1 - n u) (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1). The
two values differ from each other by at most twice this bound, which is (K + N) eps M to first
order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import varsim as tf
from tests.effort import many
from tests.properties import generation
from tests.properties.comparing import near, same
from tests.properties.programs import (
    Creation,
    CrossWrite,
    Locals,
    MergeSteps,
    MergeWrite,
    RandomProgram,
    RunStep,
    UpdateOnReplicas,
    UpdateStep,
    run_program,
)
from tests.properties.steps import CrossRead, ReadAction, WriteAction
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.sync import deferred
from varsim.testing import simulated_cluster

thorough = settings(max_examples=many(40), deadline=None, suppress_health_check=list(HealthCheck))

AUTO, ON_WRITE = VariableSynchronization.AUTO, VariableSynchronization.ON_WRITE
AGGREGATIONS = tuple(a for a in VariableAggregation if a is not VariableAggregation.NONE)
MOST_MESSAGES = 2
"""An exchange has requests, replies and commits: at most twice the messages of ON_WRITE."""


@pytest.fixture(autouse=True)
def no_advice() -> Iterator[None]:
    """Ignore varsim's warnings, which are about intended operations of these programs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        yield


@st.composite
def creations(draw: st.DrawFn) -> Creation:
    """Draw a variable; the writes of most variables are deferred."""
    synchronization = draw(st.sampled_from([AUTO, AUTO, AUTO, ON_WRITE]))
    aggregation = draw(st.sampled_from(AGGREGATIONS))
    mean = aggregation is VariableAggregation.MEAN
    kinds = "f" if mean else "fiu"
    dtype = draw(generation.dtypes.filter(lambda dtype: dtype.kind in kinds))
    return Creation(
        synchronization, aggregation, draw(generation.arrays(dtype, draw(generation.shapes)))
    )


@st.composite
def programs(draw: st.DrawFn, num_replicas: st.SearchStrategy[int]) -> RandomProgram:
    """Draw a program with AUTO variables, and with more replica operations than in `generation`."""
    count = draw(num_replicas)
    made = tuple(draw(st.lists(creations(), min_size=1, max_size=3)))
    usable = list(range(len(made)))
    some = st.tuples(*[st.booleans()] * count)
    action = st.one_of(
        st.builds(ReadAction, st.sampled_from(usable), some),
        st.builds(ReadAction, st.just(0), some),
        writes(made, count),
        writes(made, count),
        generation.actions(made, usable, count),
    )
    runs = st.lists(action, min_size=1, max_size=10).map(tuple).map(RunStep)
    steps = st.lists(runs | runs | generation.steps(made, usable, count), min_size=1, max_size=4)
    ends = (*map(CrossRead, usable), *map(Locals, usable))
    return RandomProgram(count, made, (*draw(steps), *ends))


@st.composite
def writes(draw: st.DrawFn, made: tuple[Creation, ...], count: int) -> WriteAction:
    """Draw a write of all replicas that is not refused."""
    index = draw(st.integers(0, len(made) - 1))
    initial = made[index].initial
    values = [draw(generation.arrays(initial.dtype, initial.shape)) for _ in range(count)]
    return WriteAction(index, draw(generation.writes), tuple(values))


# ---------------------------------------------------------------- the bound


def writes_of(steps: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of all writes of a program."""
    for step in steps:
        match step:
            case RunStep(actions=inner) | MergeSteps(steps=inner):
                yield from writes_of(inner)
            case WriteAction() | MergeWrite() | UpdateOnReplicas() | CrossWrite() | UpdateStep():
                yield step.values


def bound(program: RandomProgram, eps: float) -> float:
    """Return the allowed difference between two values of a program."""
    replicas = program.num_replicas
    written = list(writes_of(program.steps))
    first = sum(magnitude(creation.initial) for creation in program.creations)
    most = first + sum(magnitude(value) for values in written for value in values)
    error = (len(written) + replicas) * eps / 2
    return 2 * most * error / (1 - error)


def magnitude(value: Any) -> float:
    """Return the largest magnitude of an element."""
    array = np.abs(np.asarray(value, np.float64))
    return float(array.max()) if array.size else 0.0


# ---------------------------------------------------------------- comparison with ON_WRITE


def run(program: RandomProgram, auto: str, seed: int | None) -> tuple[list[Any], list[Any]]:
    devices = [f"cpu:{i}" for i in range(program.num_replicas)]
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(devices, auto=auto)
        outcomes = run_program(program, strategy)
        return outcomes, list(strategy.statistics())


def compare(program: RandomProgram, seed: int | None) -> None:
    expected, plain = run(program, "on_write", seed)
    got, adaptive = run(program, "adaptive", seed)
    alike = partial(near, bound=partial(bound, program))
    for index, (should, did) in enumerate(zip(expected, got, strict=True)):
        at = index - len(program.creations)
        doing = program.creations[index] if at < 0 else program.steps[at]
        assert same(should, did, alike), f"{doing}\n  ON_WRITE {should!r}\n  adaptive {did!r}"
    for one, other in zip(plain, adaptive, strict=True):
        if other.on_write is None:
            assert other.synchronization is ON_WRITE
            continue
        assert (one.merges, one.messages, one.size_bytes) == (
            other.on_write.merges,
            other.on_write.messages,
            other.on_write.size_bytes,
        )
        assert (one.writes, one.reads) == (other.writes, other.reads)
        assert other.merges <= one.merges
        assert other.messages <= MOST_MESSAGES * one.messages


@thorough
@given(programs(st.integers(1, 4)))
def test_every_read_equals_that_of_on_write(program: RandomProgram) -> None:
    compare(program, None)


@pytest.mark.thorough
@thorough
@given(programs(st.integers(2, 4)), st.integers(0, 2**32))
def test_every_read_equals_that_of_on_write_in_any_order(program: RandomProgram, seed: int) -> None:
    """Messages are delayed at random, and replicas run ahead of each other."""
    compare(program, seed)


@pytest.mark.thorough
@thorough
@given(programs(st.integers(2, 3)), st.integers(0, 2**32), st.integers(1, 3))
def test_a_full_log_is_exchanged_and_changes_nothing(
    program: RandomProgram, seed: int, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deferred, "MAX_ENTRIES", limit)
        compare(program, seed)


# ---------------------------------------------------------------- sparse writes

TABLE_SHAPE = (3, 2)
Rows = tuple[list[int], float]
"""Indices, and the value of all their rows."""


@dataclass(frozen=True, slots=True)
class TableWrite:
    """A write of all replicas to the table; `operands` has a number, or rows, for each replica."""

    operation: str
    operands: tuple[float | Rows, ...]


@dataclass(frozen=True, slots=True)
class TableProgram:
    """Calls that write a table and read it in between; the program uses it after each call.

    All results are exact, so every order of additions and of multiplications gives equal bits.
    """

    aggregation: VariableAggregation
    dtype: str
    num_replicas: int
    calls: tuple[tuple[TableWrite | None, ...], ...]  # None stands for a read
    between: tuple[str, ...]  # one operation of the program after each call


@st.composite
def table_programs(draw: st.DrawFn) -> TableProgram:
    """Draw a program. With MEAN, values are divided by the number of replicas."""
    aggregation = draw(st.sampled_from(AGGREGATIONS))
    count = draw(st.sampled_from([1, 2, 4]))
    mean = aggregation is VariableAggregation.MEAN
    operations = ["assign", "assign_add", "assign_sub", "scatter_add", "scatter_sub", "scatter_mul"]
    if not mean:
        operations.append("scatter_div")
    if aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
        operations += ["scatter_min", "scatter_max", "scatter_update"]
    indices = st.lists(st.integers(0, TABLE_SHAPE[0] - 1), max_size=3)

    @st.composite
    def write(draw: st.DrawFn) -> TableWrite:
        operation = draw(st.sampled_from(operations))
        number = st.integers(-4, 4).filter(bool).map(float)
        if mean and operation == "scatter_mul":
            number = st.sampled_from([-1.0, 1.0]).map(lambda sign: sign * count)
        operand: st.SearchStrategy[float | Rows] = number
        if "scatter" in operation:
            operand = st.tuples(indices, number)
        return TableWrite(operation, tuple(draw(operand) for _ in range(count)))

    action = write() | write() | st.none()
    calls = draw(st.lists(st.lists(action, max_size=6).map(tuple), min_size=1, max_size=4))
    doings = st.sampled_from(["nothing", "read", "scatter_add", "assign_add", "assign"])
    between = tuple(draw(doings) for _ in calls)
    return TableProgram(aggregation, "float64" if mean else "int64", count, tuple(calls), between)


def slices(operand: Rows, dtype: str) -> tf.IndexedSlices:
    """Return rows that all have one value."""
    indices, number = operand
    return tf.IndexedSlices(np.full((len(indices), TABLE_SHAPE[1]), number, dtype), indices)


def apply_to_table(table: Any, operation: str, operand: float | Rows, dtype: str) -> None:
    """Perform one write."""
    if isinstance(operand, tuple):
        getattr(table, operation)(slices(operand, dtype))
    else:
        getattr(table, operation)(np.full(TABLE_SHAPE, operand, dtype))


def run_table(program: TableProgram, auto: str, seed: int | None) -> tuple[list[Any], Any]:
    """Return all values that the program reads, and the statistics of the table."""
    with simulated_cluster(seed):
        devices = [f"cpu:{i}" for i in range(program.num_replicas)]
        strategy = tf.distribute.MirroredStrategy(devices, auto=auto)
        with strategy.scope():
            initial = np.arange(6).reshape(TABLE_SHAPE).astype(program.dtype)
            table = tf.Variable(initial, aggregation=program.aggregation)

        def step(actions: tuple[TableWrite | None, ...]) -> list[Any]:
            mine = tf.distribute.get_replica_context().replica_id_in_sync_group
            seen = []
            for action in actions:
                if action is None:
                    seen.append(table.numpy().tolist())
                else:
                    operand = action.operands[mine]
                    apply_to_table(table, action.operation, operand, program.dtype)
            return seen

        seen: list[Any] = []
        for actions, doing in zip(program.calls, program.between, strict=True):
            results = strategy.run(step, args=(actions,))
            seen += strategy.experimental_local_results(results)
            if doing == "read":
                seen.append(table.numpy().tolist())
            elif doing != "nothing":
                operand = ([1], 2.0) if doing == "scatter_add" else 2.0
                apply_to_table(table, doing, operand, program.dtype)
        seen += [one.numpy().tolist() for one in table.values]
        return seen, strategy.statistics()[0]


@thorough
@given(table_programs(), st.none() | st.integers(0, 2**32), st.sampled_from([1, 2, 1024]))
@pytest.mark.thorough
def test_sparse_writes_equal_on_write_at_limited_cost(
    program: TableProgram, seed: int | None, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deferred, "MAX_ENTRIES", limit)
        expected, plain = run_table(program, "on_write", seed)
        got, adaptive = run_table(program, "adaptive", seed)

    assert expected == got
    assert adaptive.on_write is not None
    assert (plain.merges, plain.messages, plain.size_bytes) == (
        adaptive.on_write.merges,
        adaptive.on_write.messages,
        adaptive.on_write.size_bytes,
    )
    assert (plain.writes, plain.reads) == (adaptive.writes, adaptive.reads)
    assert adaptive.merges <= plain.merges
    assert adaptive.messages <= MOST_MESSAGES * plain.messages
