"""Writes that are packed, merged and committed together equal single writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import many
from tests.properties.bare_cluster import BareCluster
from tests.properties.operation_model import (
    BareCall,
    BareComponentScatter,
    BareComponentWrite,
    BareFetch,
    BareMergeCall,
    BareModel,
    BareOperation,
    BareProgram,
    BareProgramScatter,
    BareProgramWrite,
    BareStatistics,
    Step,
    merges,
)
from tests.properties.steps import BareRows, ReadAction, ScatterAction, WriteAction
from varsim.spec import (
    SCATTERS,
    Operation,
    Shape,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)

Draw = st.DrawFn

NUMBERS = "float32 float32 float64 float16 complex64 int8 int64 uint16".split()
SHAPES: list[Shape] = [*[()] * 8, *[(3,), (2, 2)] * 4, (0,), (2, 0), (None,), (17_000,)]
"""An array of the last shape is too large to be packed, if its dtype has more than 3 bytes."""

ASSIGN, *ADDS = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB
NONE, SUM, MEAN, FIRST = VariableAggregation
ON_WRITE, ON_READ = VariableSynchronization.ON_WRITE, VariableSynchronization.ON_READ


Kind = tuple[np.dtype[Any], VariableSynchronization, VariableAggregation]


@st.composite
def kinds(draw: Draw) -> Kind:
    """Draw a variable. The writes of most variables are merged."""
    dtype = np.dtype(draw(st.sampled_from([*NUMBERS, "bool"])))
    synchronization = draw(st.sampled_from([ON_WRITE] * 4 + [ON_READ]))
    aggregations = [SUM, SUM, MEAN, MEAN, FIRST, NONE]
    if dtype.kind == "b":
        aggregations = [FIRST, NONE]
    elif dtype.kind in "iu":
        aggregations = [SUM, SUM, FIRST, NONE]
    return dtype, synchronization, draw(st.sampled_from(aggregations))


def spec_of(variable_id: int, kind: Kind, shape: Shape) -> VariableSpec:
    dtype, synchronization, aggregation = kind
    return VariableSpec(
        variable_id=variable_id,
        name=f"v{variable_id}",
        shape=shape,
        dtype=dtype,
        requested=synchronization,
        synchronization=synchronization,
        aggregation=aggregation,
        trainable=True,
    )


class Maker:
    """Draw a program, and track the sizes of unknown dimensions."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.count = draw(st.integers(1, 4))
        few = draw(st.lists(kinds(), min_size=1, max_size=3))
        drawn = st.tuples(st.sampled_from(few), st.sampled_from(SHAPES))
        made = draw(st.lists(drawn, min_size=1, max_size=7))
        self.specs = [spec_of(i, kind, shape) for i, (kind, shape) in enumerate(made, 1)]
        self.shapes = [tuple(1 if n is None else n for n in s.shape) for s in self.specs]
        self._numbers = np.random.default_rng(draw(st.integers(0, 2**32)))

    def value(self, variable: int, shape: tuple[int, ...] | None = None) -> Any:
        """Draw floats that round, or integers that wrap."""
        spec = self.specs[variable]
        shape = self.shapes[variable] if shape is None else shape
        if spec.dtype.kind in "iub":
            info: Any = np.iinfo("int8" if spec.dtype.kind == "b" else spec.dtype.name)
            number: Any = self._numbers.integers(info.min, info.max, shape, info.dtype, True)
            return np.asarray(number > 0 if spec.dtype.kind == "b" else number)
        number = self._numbers.uniform(-99, 99, shape)
        if spec.dtype.kind == "c":
            number = number + 1j * self._numbers.uniform(-99, 99, shape)
        return np.asarray(number, spec.dtype)

    def values(self, variable: int, operation: Operation) -> tuple[Any, ...]:
        """Draw one value per replica. An assign may change the size of an unknown dimension."""
        shape = self.shapes[variable]
        if operation is ASSIGN and None in self.specs[variable].shape:
            shape = self.shapes[variable] = (self.draw(st.integers(0, 3)),)
        return tuple(self.value(variable, shape) for _ in range(self.count))

    def operation(self, variable: int) -> Operation:
        if self.specs[variable].dtype.kind == "b":
            return ASSIGN
        return self.draw(st.sampled_from([ASSIGN, ASSIGN, *ADDS]))

    def variable(self) -> int:
        return self.draw(st.integers(0, len(self.specs) - 1))

    def scatter(self, variable: int, *, of_replicas: bool) -> Operation | None:
        """Draw a sparse write, or None if the variable cannot have one in this context."""
        spec = self.specs[variable]
        if not spec.shape or None in spec.shape:
            return None
        if of_replicas and spec.synchronization is ON_READ:
            return None
        possible = [one for one in SCATTERS if spec.dtype.kind != "b"] or [SCATTERS[-1]]
        if spec.dtype.kind == "c" or (spec.aggregation in (SUM, MEAN) and of_replicas):
            possible = possible[:4]
        return self.draw(st.sampled_from(possible))

    def rows(self, variable: int, operation: Operation) -> BareRows:
        """Draw some rows, which may repeat. Divisors are small and above 0."""
        shape = self.shapes[variable]
        count = self.draw(st.integers(0, 5)) if shape[0] else 0
        indices = tuple(self._numbers.integers(0, max(1, shape[0]), count).tolist())
        values = self.value(variable, (count, *shape[1:]))
        if operation is Operation.SCATTER_DIV:
            values = self._numbers.integers(1, 4, values.shape).astype(values.dtype)
        return indices, np.asarray(values)

    def bare_operation(self) -> BareOperation:
        variable, draw = self.variable(), self.draw
        kind = draw(st.sampled_from("write write component rows look account".split()))
        if kind == "rows":
            return self.bare_scatter(variable)
        match kind:
            case "write":
                operation = self.operation(variable)
                values = self.values(variable, operation)
                return BareProgramWrite(variable, operation, values, draw(st.booleans()))
            case "component":
                replica_id = draw(st.integers(0, self.count - 1))
                operation = self.operation(variable)
                return BareComponentWrite(variable, replica_id, operation, self.value(variable))
            case "look":
                replica_ids = draw(st.permutations(range(self.count)))
                return BareFetch(variable, tuple(replica_ids[: draw(st.integers(1, self.count))]))
            case _:
                return BareStatistics()

    def bare_scatter(self, variable: int) -> BareOperation:
        operation, draw = self.scatter(variable, of_replicas=False), self.draw
        if operation is None:
            return BareStatistics()
        if draw(st.booleans()):
            i = draw(st.integers(0, self.count - 1))
            return BareComponentScatter(variable, i, operation, self.rows(variable, operation))
        each = range(draw(st.sampled_from([1, self.count])))
        rows = tuple(self.rows(variable, operation) for _ in each)
        return BareProgramScatter(variable, operation, rows)

    def write(self, variable: int, operation: Operation) -> WriteAction:
        if self.specs[variable].dtype.kind == "b":
            operation = ASSIGN
        return WriteAction(variable, operation, self.values(variable, operation))

    def steps(self) -> list[Step]:
        """Draw one step, or many writes in a row as in a training step."""
        variable, draw = self.variable(), self.draw
        operation: Operation | None
        match draw(
            st.sampled_from("many many many write write rows rows read read merge_call".split())
        ):
            case "many":
                some = draw(st.permutations(range(len(self.specs))))
                operation = self.operation(variable)
                return [self.write(i, operation) for i in some[: draw(st.integers(1, 6))]]
            case "write":
                return [self.write(variable, self.operation(variable))]
            case "rows":
                operation = self.scatter(variable, of_replicas=True)
                if operation is None:
                    return [self.write(variable, self.operation(variable))]
                each = tuple(self.rows(variable, operation) for _ in range(self.count))
                return [ScatterAction(variable, operation, each)]
            case "read":
                return [ReadAction(variable, tuple(draw(st.booleans()) for _ in range(self.count)))]
            case _:
                return [
                    BareMergeCall(
                        tuple(self.bare_operation() for _ in range(draw(st.integers(0, 2))))
                    )
                ]

    def doing(self) -> BareCall | BareOperation:
        if self.draw(st.integers(0, 2)) == 0:
            return self.bare_operation()
        before = list(self.shapes)
        steps = [step for _ in range(self.draw(st.integers(2, 6))) for step in self.steps()]
        again = before == self.shapes and self.draw(st.booleans())
        return BareCall(tuple(steps * 2 if again else steps))

    def program(self) -> BareProgram:
        initial = tuple(self.value(variable) for variable in range(len(self.specs)))
        doings = tuple(self.doing() for _ in range(self.draw(st.integers(1, 5))))
        everything = tuple(BareFetch(i, tuple(range(self.count))) for i in range(len(self.specs)))
        return BareProgram(self.count, tuple(self.specs), initial, (*doings, *everything))


@st.composite
def programs(draw: Draw) -> BareProgram:
    return Maker(draw).program()


@pytest.mark.thorough
@settings(max_examples=many(120), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 2**32), st.booleans())
def test_packed_writes_equal_single_writes(
    program: BareProgram, seed: int, validates: bool
) -> None:
    """This holds bit for bit, for every order of messages and with reads in between."""
    model = BareModel(program)
    cluster = BareCluster(program, seed, validates=validates)
    cluster.run()

    assert model.seen.keys() == cluster.seen.keys()
    for path, expected in model.seen.items():
        got = cluster.seen[path]
        assert (expected.dtype, expected.shape) == (got.dtype, got.shape), path
        assert expected.tobytes() == got.tobytes(), path
    cluster.assert_nothing_changed()
    for variable, replica in ((v, r) for v in range(len(program.specs)) for r in cluster.replicas):
        spec = program.specs[variable]
        held = replica.components.variables[spec.variable_id]
        expected = model.variables[variable].components[replica.replica_id]
        assert expected.tobytes() == held.component().tobytes()
        assert merges(spec) or held.block.is_single


@settings(max_examples=many(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 2**32))
@pytest.mark.thorough
def test_packed_writes_are_counted_like_single_writes(program: BareProgram, seed: int) -> None:
    """A component that was not written since the last fetch is not fetched again."""
    model = BareModel(program)
    cluster = BareCluster(program, seed, validates=False)
    cluster.run()

    assert [variable.account() for variable in model.variables] == [
        (a.writes, a.reads, a.merges, a.messages, a.size_bytes, a.spared)
        for a in cluster.registry.statistics()
    ]
