"""Programs for states without shells, and a model of their results in plain NumPy.

The model merges one write at a time, in the order of the program, and has no outboxes. It also
determines which components are fetched: only those that a replica may have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from tests.properties.steps import BareRows, ReadAction, ScatterAction, WriteAction
from varsim.spec import (
    Operation,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)

Array = np.ndarray[Any, Any]
NONE, SUM, MEAN, FIRST = VariableAggregation


@dataclass(frozen=True, slots=True)
class BareProgramWrite:
    """The program writes one value to all components, or a different value to each."""

    variable: int
    operation: Operation
    values: tuple[Array, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class BareComponentWrite:
    """The program writes one component."""

    variable: int
    replica_id: int
    operation: Operation
    value: Array


@dataclass(frozen=True, slots=True)
class BareProgramScatter:
    """The program writes rows of all components: the same rows, or different rows for each."""

    variable: int
    operation: Operation
    rows: tuple[BareRows, ...]


@dataclass(frozen=True, slots=True)
class BareComponentScatter:
    """The program writes some rows of one component."""

    variable: int
    replica_id: int
    operation: Operation
    rows: BareRows


@dataclass(frozen=True, slots=True)
class BareFetch:
    """The program fetches the components of some replicas."""

    variable: int
    replica_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BareStatistics:
    """The program asks for the statistics of all variables."""


BareOperation = (
    BareProgramWrite
    | BareComponentWrite
    | BareProgramScatter
    | BareComponentScatter
    | BareFetch
    | BareStatistics
)
"""An operation of the program, between calls or in a merge_call."""


@dataclass(frozen=True, slots=True)
class BareMergeCall:
    """A merge_call with an operation of the program."""

    bare_operations: tuple[BareOperation, ...]


Step = WriteAction | ScatterAction | ReadAction | BareMergeCall
"""An operation of all replicas in a call."""


@dataclass(frozen=True, slots=True)
class BareCall:
    """One `strategy.run`."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class BareProgram:
    """Variables with their initial values, and operations."""

    num_replicas: int
    specs: tuple[VariableSpec, ...]
    initial: tuple[Array, ...]
    doings: tuple[BareCall | BareOperation, ...]


# ---------------------------------------------------------------- the model


def merges(spec: VariableSpec) -> bool:
    """Return whether a write in replica context is a collective."""
    on_write = spec.synchronization is VariableSynchronization.ON_WRITE
    return on_write and spec.aggregation is not NONE


def merged(values: Sequence[Array], aggregation: VariableAggregation) -> Array:
    """Combine the replicas' values; a sum is computed in replica order and rounded at each step."""
    if aggregation is FIRST or len(values) == 1:
        return values[0]
    total = values[0]
    for value in values[1:]:
        total = np.asarray(total + value)
    return total if aggregation is SUM else np.asarray(total / total.dtype.type(len(values)))


def changed(component: Array, operation: Operation, value: Array) -> Array:
    """Return a component after a write."""
    if operation is Operation.ASSIGN:
        return value
    add = operation is Operation.ASSIGN_ADD
    return np.asarray(component + value if add else component - value)


def size_of(rows: BareRows) -> int:
    """Return the bytes of rows: 8 for each index, and the values."""
    return 8 * len(rows[0]) + rows[1].nbytes


def joined(rows: Sequence[BareRows], aggregation: VariableAggregation) -> BareRows:
    """Return the rows of all replicas, in replica order."""
    if aggregation is FIRST or len(rows) == 1:
        return rows[0]
    values = np.concatenate([own for _, own in rows])
    if aggregation is MEAN:
        values = values / values.dtype.type(len(rows))
    return tuple(index for indices, _ in rows for index in indices), values


def scattered(component: Array, operation: Operation, rows: BareRows) -> Array:
    """Return a component after a sparse write: one row after the other."""
    after = component.copy()
    for index, value in zip(*rows, strict=True):
        after[index] = _ROW[operation](after[index], value)
    return after


def _product(before: Any, value: Any) -> Any:
    """Return the product; for complex numbers, every single multiplication and sum is rounded."""
    if before.dtype.kind != "c":
        return before * value
    product = np.empty(np.shape(before), before.dtype)
    product.real = before.real * value.real - before.imag * value.imag
    product.imag = before.real * value.imag + before.imag * value.real
    return product


def _quotient(before: Any, value: Any) -> Any:
    if before.dtype.kind not in "iu":
        return before / value
    exact = [
        _truncated(*map(int, pair)) for pair in zip(np.ravel(before), np.ravel(value), strict=True)
    ]
    return np.array(exact).astype(before.dtype).reshape(np.shape(before))


def _truncated(one: int, other: int) -> int:
    """Return the quotient, rounded towards zero."""
    return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)


_ROW = {
    Operation.SCATTER_ADD: lambda before, value: before + value,
    Operation.SCATTER_SUB: lambda before, value: before - value,
    Operation.SCATTER_MUL: _product,
    Operation.SCATTER_DIV: _quotient,
    Operation.SCATTER_MIN: np.minimum,
    Operation.SCATTER_MAX: np.maximum,
    Operation.SCATTER_UPDATE: lambda _, value: value,
}


@dataclass(slots=True)
class ModelledVariable:
    """The model's state of one variable."""

    spec: VariableSpec
    components: list[Array]
    known: list[bool] = field(
        default_factory=list
    )  # whether the program knows the component without a fetch
    written: set[int] = field(default_factory=set)  # components that this call wrote locally
    writes: int = 0
    reads: int = 0
    merges: int = 0
    messages: int = 0
    size_bytes: int = 0
    spared: int = 0

    def __post_init__(self) -> None:
        self.known = [True] * len(self.components)

    def change(self, replica_id: int, operation: Operation, value: Array) -> None:
        self.components[replica_id] = changed(self.components[replica_id], operation, value)

    def account(self) -> tuple[int, ...]:
        return (
            self.writes, self.reads, self.merges, self.messages, self.size_bytes, self.spared
        )  # fmt: skip


class BareModel:
    """Run a program. `seen` has the values of all reads and fetches, in program order."""

    def __init__(self, program: BareProgram) -> None:
        self.count = program.num_replicas
        self.variables = [
            ModelledVariable(spec, [value] * self.count)
            for spec, value in zip(program.specs, program.initial, strict=True)
        ]
        self.seen: dict[
            tuple[int, ...], Array | None
        ] = {}  # (position in the program, replica) -> value
        self._in_call = False
        with np.errstate(all="ignore"):
            for path, doing in enumerate(program.doings):
                if isinstance(doing, BareCall):
                    self._call((path,), doing)
                else:
                    self._do((path,), doing)

    def _call(self, path: tuple[int, ...], call: BareCall) -> None:
        self._in_call = True
        for number, step in enumerate(call.steps):
            match step:
                case WriteAction():
                    self._write(self.variables[step.variable], step)
                case ScatterAction():
                    self._scatter(self.variables[step.variable], step)
                case ReadAction():
                    variable = self.variables[step.variable]
                    for i in (i for i, reads in enumerate(step.who) if reads):
                        self.seen[*path, number, i] = variable.components[i]
                        variable.reads += 1
                case BareMergeCall():
                    for inner, bare_operation in enumerate(step.bare_operations):
                        self._do((*path, number, inner), bare_operation)
                case _:
                    assert_never(step)
        self._in_call = False
        for variable in self.variables:
            for i in variable.written:
                variable.known[i] = False
            variable.written.clear()

    def _write(self, variable: ModelledVariable, step: WriteAction) -> None:
        count = self.count
        variable.writes += count
        values: Sequence[Array] = step.values
        if merges(variable.spec):
            together = merged(values, variable.spec.aggregation)
            values = [together] * count
            sent = 1 if variable.spec.aggregation is FIRST else count
            variable.merges += 1
            variable.messages += 2 * count
            variable.size_bytes += (sent + count) * together.nbytes
        else:
            variable.written.update(range(count))
        for replica_id, value in enumerate(values):
            variable.change(replica_id, step.operation, value)

    def _scatter(self, variable: ModelledVariable, step: ScatterAction) -> None:
        count, rows = self.count, step.rows
        variable.writes += count
        if merges(variable.spec):
            first_only = variable.spec.aggregation is FIRST
            sent = sum(map(size_of, rows[:1] if first_only else rows))
            together = joined(rows, variable.spec.aggregation)
            rows = (together,) * count
            variable.merges += 1
            variable.messages += 2 * count
            variable.size_bytes += sent + count * size_of(together)
        else:
            variable.written.update(range(count))
        for replica_id, own in enumerate(rows):
            before = variable.components[replica_id]
            variable.components[replica_id] = scattered(before, step.operation, own)

    # ------------------------------------------------------------ the program

    def _do(self, path: tuple[int, ...], bare_operation: BareOperation) -> None:
        match bare_operation:
            case BareProgramWrite():
                self._write_all(self.variables[bare_operation.variable], bare_operation)
            case BareComponentWrite():
                variable = self.variables[bare_operation.variable]
                variable.writes += 1
                self._write_one(
                    variable,
                    bare_operation.replica_id,
                    bare_operation.operation,
                    bare_operation.value,
                )
            case BareProgramScatter(rows=rows):
                variable = self.variables[bare_operation.variable]
                variable.writes += 1
                for i, own in enumerate(rows * (self.count // len(rows))):
                    self._scatter_one(variable, i, bare_operation.operation, own)
            case BareComponentScatter(replica_id=i, rows=own):
                variable = self.variables[bare_operation.variable]
                variable.writes += 1
                self._scatter_one(variable, i, bare_operation.operation, own)
            case BareFetch():
                self._look(
                    path, self.variables[bare_operation.variable], bare_operation.replica_ids
                )
            case BareStatistics():
                pass
            case _:
                assert_never(bare_operation)

    def _is_uncertain(self, variable: ModelledVariable) -> bool:
        return self._in_call and not merges(variable.spec)

    def _write_all(self, variable: ModelledVariable, bare_operation: BareProgramWrite) -> None:
        variable.writes += 1
        values = (
            bare_operation.values[:1] * self.count if bare_operation.same else bare_operation.values
        )
        for replica_id, value in enumerate(values):
            self._write_one(variable, replica_id, bare_operation.operation, value)

    def _write_one(
        self, variable: ModelledVariable, replica_id: int, operation: Operation, value: Array
    ) -> None:
        variable.messages += 1
        variable.size_bytes += value.nbytes
        variable.change(replica_id, operation, value)
        if operation is Operation.ASSIGN:
            variable.known[replica_id] = True
        elif self._is_uncertain(variable):
            variable.known[replica_id] = False

    def _scatter_one(
        self, variable: ModelledVariable, replica_id: int, operation: Operation, rows: BareRows
    ) -> None:
        variable.messages += 1
        variable.size_bytes += size_of(rows)
        before = variable.components[replica_id]
        variable.components[replica_id] = scattered(before, operation, rows)
        if self._is_uncertain(variable):
            variable.known[replica_id] = False

    def _look(
        self, path: tuple[int, ...], variable: ModelledVariable, replica_ids: tuple[int, ...]
    ) -> None:
        for replica_id in replica_ids:
            value = variable.components[replica_id]
            self.seen[*path, replica_id] = value
            uncertain = self._is_uncertain(variable)
            if variable.known[replica_id] and not uncertain:
                variable.spared += not merges(variable.spec)
                continue
            variable.messages += 2
            variable.size_bytes += value.nbytes
            variable.known[replica_id] = variable.known[replica_id] or not uncertain
