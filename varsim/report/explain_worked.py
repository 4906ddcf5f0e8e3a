"""Compute worked examples of operations on a variable, from the policy cells.

In an example, the cluster has one variable, and the program and the replicas run one after the
other. The cells compute the values and count the messages. A test compares each example with a
cluster that runs the same program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from varsim.errors import VariableError
from varsim.spec import (
    Array,
    Context,
    Operation,
    Synchronization,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import fixes, policies
from varsim.sync.policies.cell import Cell, Reason
from varsim.sync.policies.known import Known

START: Final = 10.0
"""The initial value of the variable of every example, on every replica."""

WRITTEN: Final = 6.0
"""The value that the program writes from outside the replicas; replica i writes i + 1."""

WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
OPERATIONS: Final = (*WRITES, Operation.READ)


class Way(Enum):
    """How an operation is called."""

    PLAINLY = ""
    EACH = "each"  # with a per-replica value, from outside the replicas
    UNREAD = "unread"  # with read_value=False


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """An operation on a fresh variable, followed by a read from outside the replicas.

    If the operation is a read, replica i has added i + 1 before this read, unless the policy
    refuses this.
    """

    aggregation: VariableAggregation
    context: Context
    operation: Operation
    way: Way
    refused: VariableError | None  # the error; None if the operation is not refused
    had_added: bool  # whether the operation is a read, and the replicas had added before
    components: tuple[Array, ...]  # after the operation
    outside: Array | None  # the result of the read from outside; None if it is refused
    messages: int  # number of messages of the operation
    read_messages: int  # number of messages of the read from outside


def example_spec(
    synchronization: Synchronization,
    aggregation: VariableAggregation,
    dtype: str = "float32",
) -> VariableSpec:
    """Return the variable `v` of the examples, with that synchronization in force."""
    return VariableSpec(
        variable_id=1,
        name="v",
        shape=(),
        dtype=np.dtype(dtype),
        requested=synchronization,
        synchronization=synchronization,
        aggregation=aggregation,
        trainable=policies.is_trainable(synchronization),
    )


def worked(spec: VariableSpec, context: Context, num_replicas: int) -> Iterator[Worked]:
    """Yield the examples of all operations in one context."""
    for operation in OPERATIONS:
        for way in _ways(spec, context, operation):
            yield _worked(spec, context, operation, way, num_replicas)


def fresh(spec: VariableSpec, num_replicas: int) -> Array | None:
    """Return the result of a read from outside before any write; None if it is refused."""
    try:
        return _Variable(spec, num_replicas).read(Context.CROSS_REPLICA)
    except VariableError:
        return None


def _ways(spec: VariableSpec, context: Context, operation: Operation) -> Iterator[Way]:
    yield Way.PLAINLY
    cell = policies.cell(spec, context, operation)
    if cell.per_component:
        yield Way.EACH
    elif cell.reads_back and not policies.is_readable(spec):
        yield Way.UNREAD


def _worked(
    spec: VariableSpec, context: Context, operation: Operation, way: Way, num_replicas: int
) -> Worked:
    variable = _Variable(spec, num_replicas)
    refused: VariableError | None = None
    had_added = False
    if operation is Operation.READ:
        with suppress(VariableError):  # if the policy refuses the write, a new variable is read
            variable.write(Context.REPLICA, Operation.ASSIGN_ADD, Way.PLAINLY)
            had_added = True
    before = variable.messages
    try:
        if operation is Operation.READ:
            variable.read(context)
        else:
            variable.write(context, operation, way)
    except VariableError as error:
        refused = error
    after = variable.messages
    try:
        outside = None if refused else variable.read(Context.CROSS_REPLICA)
    except VariableError:
        outside = None
    return Worked(
        aggregation=spec.aggregation,
        context=context,
        operation=operation,
        way=way,
        refused=refused,
        had_added=had_added,
        components=tuple(variable.components[: shown_components(spec)]),
        outside=outside,
        messages=after - before,
        read_messages=variable.messages - after,
    )


def shown_components(spec: VariableSpec) -> int | None:
    """Return how many components an example shows: the only copy, or None for all components."""
    return 1 if policies.policy_of(spec.synchronization).has_one_copy else None


class _Variable:
    """One variable, its components, and the messages of its synchronisation so far."""

    def __init__(self, spec: VariableSpec, num_replicas: int) -> None:
        self.messages = 0
        self._spec = spec
        self._replicas = range(num_replicas)
        self._known = Known(num_replicas)
        self.components = self._numbers([START] * num_replicas)
        (self._copy,) = self._numbers([START])

    def _numbers(self, values: Iterable[float]) -> list[Array]:
        return [np.asarray(value, self._spec.dtype) for value in values]

    def write(self, context: Context, operation: Operation, way: Way) -> None:
        """Apply an assign, assign_add or assign_sub by the rules of the policy.

        Raises:
            VariableError: The policy refuses the write; nothing has changed.
        """
        spec, count = self._spec, len(self._replicas)
        cell = policies.cell(spec, context, operation)
        outside = context is Context.CROSS_REPLICA and way is not Way.EACH
        is_one = outside or cell.takes_first
        values = self._numbers([WRITTEN] * count if is_one else [i + 1 for i in self._replicas])
        refused = cell.refused
        if cell.reads_back and way is not Way.UNREAD:
            refused = refused or _reading(spec).refused
        if refused is not None and context is Context.REPLICA:
            raise fixes.refusal_of_replica_write(spec, refused, operation, values[0], count)
        if refused is not None:
            raise self._refusal(refused, operation, values[0])
        self.messages += cell.cost(spec, operation, self.components, values, self._known)
        self._copy = cell.copied(spec, operation, self.components, values, self._copy)
        self.components = cell.written(spec, operation, self.components, values)

    def read(self, context: Context) -> Array:
        """Read the variable. Outside cross-replica context, return replica 0's component.

        Raises:
            VariableError: The policy refuses the read.
        """
        spec = self._spec
        cell = policies.cell(spec, context, Operation.READ)
        if cell.refused is not None:
            raise self._refusal(cell.refused, Operation.READ)
        self.messages += cell.cost_of_read(spec, self._known)
        if context is not Context.CROSS_REPLICA:
            return self.components[0]
        if cell.uses_copy:
            return self._copy
        needed = cell.needed(spec, len(self._replicas))
        return cell.combined(spec, [self.components[i] for i in needed])

    def _refusal(
        self, reason: Reason, operation: Operation, value: Array | None = None
    ) -> VariableError:
        """Return the error of a cell that refuses. Fetch the components that the error shows."""
        components = None
        if reason.shows_components:
            self.messages += self._known.fetch(self._replicas)
            components = self.components
        return fixes.refusal(self._spec, reason, operation, components, value)


def _reading(spec: VariableSpec) -> Cell:
    return policies.cell(spec, Context.CROSS_REPLICA, Operation.READ)
