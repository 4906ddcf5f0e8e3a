"""A model of the rules in one process. It computes the values that every replica must read.

It follows docs/semantics.md as directly as possible, and shares only the names of the settings with
varsim. A refused operation changes nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from tests.properties.operation_model import joined, scattered
from tests.properties.steps import BareRows, CombineStep
from varsim.extension_dtypes import kind_of
from varsim.protocol.parts import CombineKind
from varsim.spec import Operation, ReduceOp, VariableAggregation, VariableSynchronization

REFUSED: Final = "refused"
"""The outcome of an operation that the rules do not allow."""

Array = np.ndarray[Any, Any]

NONE, SUM, MEAN, FIRST = VariableAggregation
SYNC_AUTO, SYNC_NONE, ON_WRITE, ON_READ = VariableSynchronization

UNORDERED: Final = (Operation.SCATTER_MIN, Operation.SCATTER_MAX, Operation.SCATTER_UPDATE)
"""The sparse writes that do not combine the rows of several replicas."""


class RefusedError(Exception):
    """The error for an operation that the rules do not allow."""


def outcome(operation: Callable[[], Any]) -> Any:
    """Return the result of an operation, or REFUSED."""
    try:
        return operation()
    except RefusedError:
        return REFUSED


def left_fold(values: Sequence[Array]) -> Array:
    """Return the sum in replica order, rounded at each step."""
    total = values[0]
    for value in values[1:]:
        total = np.asarray(total + value)
    return total


def mean_of(values: Sequence[Array]) -> Array:
    """Return the sum divided by the number of values, computed in their dtype."""
    return np.asarray(left_fold(values) / values[0].dtype.type(len(values)))


def aggregated(
    values: Sequence[Array], aggregation: VariableAggregation, num_replicas: int
) -> Array:
    """Combine values with a variable's aggregation; replicas that have joined have no value."""
    if aggregation is FIRST or num_replicas == 1:
        return values[0]
    if values[0].dtype == bool:
        raise RefusedError
    return left_fold(values) if aggregation is SUM else mean_of(values)


PAIRWISE: Final = {
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
    ReduceOp.PROD: np.multiply,
    ReduceOp.ANY: np.logical_or,
    ReduceOp.ALL: np.logical_and,
}


def require_meaning(dtype: np.dtype[Any], op: ReduceOp) -> None:
    """Refuse an op that has no meaning for a dtype."""
    if (dtype.kind == "b") != (op in {ReduceOp.ANY, ReduceOp.ALL}):
        raise RefusedError
    if dtype.kind == "c" and op in {ReduceOp.MIN, ReduceOp.MAX}:
        raise RefusedError


def reduced(values: Sequence[Array], op: ReduceOp, num_replicas: int) -> Array:
    """Return the result of `strategy.reduce` and `all_reduce`: a mean of integers is float64."""
    if num_replicas == 1:
        return values[0]
    require_meaning(values[0].dtype, op)
    if op in PAIRWISE:
        with np.errstate(all="ignore"):
            return np.asarray(functools.reduce(PAIRWISE[op], values), values[0].dtype)
    if op is ReduceOp.SUM:
        return left_fold(values)
    if values[0].dtype.kind in "iu":
        return np.asarray(left_fold(values) / np.float64(len(values)))
    return mean_of(values)


def combined(step: CombineStep, count: int) -> list[Any]:
    """Return what each of the first `count` replicas gets from a collective."""
    values, op, kind = step.values[:count], step.op, step.kind
    with np.errstate(all="ignore"):
        if kind is CombineKind.REDUCE_SCATTER:
            return [reduced(values, op, len(step.values))[None]] * count
        if kind is CombineKind.ALL_TO_ALL:
            return [[np.atleast_1d(value)[:i] for value in values] for i in range(count)]
        if kind is CombineKind.BROADCAST:
            return [values[step.root % count]] * count
        if kind is CombineKind.SCAN:
            parts = [folded(values[: i + 1], op) for i in range(count)]
            first = np.full_like(values[0], neutral(op, values[0].dtype))
            return [first, *parts[:-1]] if step.exclusive else parts
        return [weighted(values, step.weights[:count])] * count


def folded(values: Sequence[Array], op: ReduceOp) -> Array:
    """Return the values combined in replica order."""
    pair = np.add if op is ReduceOp.SUM else PAIRWISE[op]
    return np.asarray(functools.reduce(pair, values), values[0].dtype)


def neutral(op: ReduceOp, dtype: np.dtype[Any]) -> Any:
    """Return the value that changes no other value."""
    if op in {ReduceOp.SUM, ReduceOp.PROD}:
        return int(op is ReduceOp.PROD)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return limits.max if op is ReduceOp.MIN else limits.min
    return np.inf if op is ReduceOp.MIN else -np.inf


def weighted(values: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return the weighted mean, computed in double precision; a weight of 0 leaves a value out."""
    dtype = values[0].dtype
    wide = np.complex128 if dtype.kind == "c" else np.float64
    used = [(value.astype(wide) * w, w) for value, w in zip(values, weights, strict=True) if w]
    mean = left_fold([one for one, _ in used]) / left_fold([np.asarray(w) for _, w in used])
    return np.asarray(mean if dtype.kind in "iu" else np.asarray(mean).astype(dtype))


def changed(component: Array, operation: Operation, value: Array) -> Array:
    """Return a component after a write."""
    if operation is Operation.ASSIGN:
        return value
    if value.dtype == bool:
        raise RefusedError
    add = operation is Operation.ASSIGN_ADD
    return np.asarray(component + value if add else component - value)


class ModelVariable:
    """A variable with one component per replica, equal at the start."""

    def __init__(
        self,
        synchronization: VariableSynchronization,
        aggregation: VariableAggregation,
        initial: Array,
        num_replicas: int,
    ) -> None:
        if aggregation is MEAN and initial.dtype.kind in "iub":
            raise RefusedError
        self.synchronization = ON_WRITE if synchronization is SYNC_AUTO else synchronization
        self.aggregation = aggregation
        self.components = [initial] * num_replicas

    @property
    def merges(self) -> bool:
        """Return whether a write in replica context is a collective."""
        return self.synchronization is ON_WRITE and self.aggregation is not NONE

    def _as_mine(self, value: Any) -> Array:
        """Convert numbers to the variable's dtype. Arrays must have its dtype and shape."""
        mine = self.components[0]
        if isinstance(value, np.ndarray) and value.dtype != mine.dtype:
            raise RefusedError
        array = np.asarray(value, mine.dtype)
        if array.shape != mine.shape:
            raise RefusedError
        return array

    def _change(self, operation: Operation, values: Sequence[Array]) -> None:
        """Change the components for which there are values: all, or those of the first replicas."""
        pairs = zip(self.components, values, strict=False)
        after = [changed(component, operation, value) for component, value in pairs]
        self.components = [*after, *self.components[len(after) :]]

    # ------------------------------------------------------------ on the replicas

    def write_on_replicas(self, operation: Operation, values: Sequence[Any]) -> None:
        """Let the first replicas write, in a collective or each to its own component.

        Args:
            values: One value for each replica that takes part.
        """
        mine = [self._as_mine(value) for value in values]
        if self.merges:
            if operation is not Operation.ASSIGN and mine[0].dtype == bool:
                raise RefusedError
            count = len(self.components)
            mine = [aggregated(mine, self.aggregation, count)] * count
        self._change(operation, mine)

    def write_on(self, replica_id: int, operation: Operation, value: Any) -> None:
        """Write one replica's own component of a variable that does not merge."""
        assert not self.merges
        component = self.components[replica_id]
        self.components[replica_id] = changed(component, operation, self._as_mine(value))

    # ------------------------------------------------------------ in cross-replica context

    def read(self) -> Array:
        """Return the cross-replica value."""
        if self.synchronization is ON_WRITE:
            return self.components[0]
        if self.synchronization is ON_READ and self.aggregation is not NONE:
            return aggregated(self.components, self.aggregation, len(self.components))
        raise RefusedError

    def write(self, operation: Operation, value: Any) -> None:
        """Do a cross-replica write of one value."""
        count = len(self.components)
        if self.synchronization is ON_READ and self.aggregation is SUM:
            if operation is not Operation.ASSIGN:
                raise RefusedError
            part = share(value, self.components[0].dtype, count)
            self._change(operation, [self._as_mine(part)] * count)
            return
        array = self._as_mine(value)
        if operation is not Operation.ASSIGN and array.dtype == bool:
            raise RefusedError
        if self.synchronization is ON_READ and self.aggregation is NONE:
            raise RefusedError
        self._change(operation, [array] * count)

    def write_each(self, operation: Operation, values: Sequence[Any]) -> None:
        """Do a cross-replica write of one value per replica, without aggregation."""
        if self.synchronization is ON_READ:
            raise RefusedError
        self._change(operation, [self._as_mine(value) for value in values])

    def update(self, operation: Operation, values: Sequence[Any]) -> None:
        """Do `extended.update`: change each component separately, whatever the settings."""
        self._change(operation, [self._as_mine(value) for value in values])

    # ------------------------------------------------------------ sparse writes

    def scatter_on_replicas(self, operation: Operation, rows: Sequence[BareRows]) -> None:
        """Let the first replicas write rows, in a collective or each to its own component."""
        self._require_sparse(operation)
        self._require_rows(operation, rows)
        if self.merges:
            rows = [joined(rows, self.aggregation)] * len(self.components)
        self._scatter(operation, rows)

    def scatter(self, operation: Operation, rows: Sequence[BareRows]) -> None:
        """Do a cross-replica sparse write: one set of rows for all components, or one for each."""
        self._require_sparse(operation)
        self.scatter_each(operation, [*rows] * (len(self.components) // len(rows)))

    def scatter_each(self, operation: Operation, rows: Sequence[BareRows]) -> None:
        """Write rows of each component separately, whatever the settings."""
        self._require_rows(operation, rows)
        self._scatter(operation, rows)

    def _require_sparse(self, operation: Operation) -> None:
        if self.synchronization is ON_READ:
            raise RefusedError
        if self.merges and self.aggregation is not FIRST and operation in UNORDERED:
            raise RefusedError

    def _require_rows(self, operation: Operation, rows: Sequence[BareRows]) -> None:
        component = self.components[0]
        if component.ndim == 0:
            raise RefusedError
        if component.dtype == bool and operation is not Operation.SCATTER_UPDATE:
            raise RefusedError
        if any(index >= len(component) for indices, _ in rows for index in indices):
            raise RefusedError

    def _scatter(self, operation: Operation, rows: Sequence[BareRows]) -> None:
        with np.errstate(all="ignore"):
            after = [
                scattered(component, operation, own)
                for component, own in zip(self.components, rows, strict=False)
            ]
        self.components = [*after, *self.components[len(after) :]]

    def reduce(self, op: ReduceOp) -> Array:
        """Do `strategy.reduce` of the variable, whose aggregation has no effect."""
        if self.synchronization is ON_WRITE:
            if op in {ReduceOp.SUM, ReduceOp.PROD}:
                raise RefusedError
            if op is not ReduceOp.MEAN:
                require_meaning(self.components[0].dtype, op)
            return self.components[0]
        return reduced(self.components, op, len(self.components))


def share(value: Any, dtype: Any, count: int) -> Array:
    """Return one replica's share of a value that is assigned to an ON_READ SUM variable."""
    if isinstance(value, bool) and dtype.kind == "b":
        return np.asarray(value)
    given = np.asarray(value)
    if "b" in (given.dtype.kind, dtype.kind):
        raise RefusedError
    if kind_of(given.dtype) == "f":
        with np.errstate(all="ignore"):
            return np.asarray(given / given.dtype.type(count)).astype(dtype)
    if kind_of(dtype) == "f":
        return np.asarray(given.astype(dtype) / dtype.type(count))
    shares = [truncated(int(number), count) for number in given.reshape(-1)]
    return np.array(shares, given.dtype).reshape(given.shape).astype(dtype)


def truncated(number: int, count: int) -> int:
    """Return the quotient, rounded towards zero."""
    return int(math.copysign(1, number)) * (abs(number) // count)
