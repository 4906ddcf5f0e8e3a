"""Worked examples: what an operation on a variable leads to, computed from its policy cell.

A tiny cluster of one variable, in which the program and all replicas take turns. It adds numbers
up by `varsim.sync.reduce` alone, and counts messages as `VariableStatistics` does; a test compares
each example with a cluster that runs the same program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from varsim.errors import VariableError
from varsim.spec import (
    Array,
    Context,
    Operation,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync import fixes, policy, reduce

START: Final = 10.0
"""What the variable of every example starts at, on every replica."""

WRITTEN: Final = 6.0
"""What the program writes from outside the replicas; replica i writes i + 1."""

WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
OPERATIONS: Final = (*WRITES, Operation.READ)


class Way(Enum):
    """How an operation is called."""

    PLAINLY = ""
    EACH = "each"  # with a per-replica value, from outside the replicas
    UNREAD = "unread"  # with read_value=False


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """An operation on a fresh variable, and a read from outside the replicas right after it.

    Before a read every replica has added its i + 1.
    """

    aggregation: VariableAggregation
    context: Context
    operation: Operation
    way: Way
    refused: VariableError | None  # by the operation; then nothing has changed
    components: tuple[Array, ...]  # as anybody sees them afterwards
    outside: Array | None  # what the read from outside gives; None if it is refused
    messages: int  # of the operation
    read_messages: int  # of the read from outside


def example_spec(
    synchronization: VariableSynchronization,
    aggregation: VariableAggregation,
    dtype: str = "float32",
) -> VariableSpec:
    """The variable `v` of the examples, with that synchronization in force."""
    return VariableSpec(
        variable_id=1,
        name="v",
        shape=(),
        dtype=np.dtype(dtype),
        requested=synchronization,
        synchronization=synchronization,
        aggregation=aggregation,
        trainable=policy.is_trainable(synchronization),
    )


def worked(spec: VariableSpec, context: Context, num_replicas: int) -> Iterator[Worked]:
    """The examples of all operations in one context."""
    for operation in OPERATIONS:
        for way in _ways(spec, context, operation):
            yield _worked(spec, context, operation, way, num_replicas)


def fresh(spec: VariableSpec, num_replicas: int) -> Array | None:
    """What a read from outside gives before anything is written; None if it is refused."""
    try:
        return _Variable(spec, num_replicas).read(Context.CROSS_REPLICA)
    except VariableError:
        return None


def _ways(spec: VariableSpec, context: Context, operation: Operation) -> Iterator[Way]:
    yield Way.PLAINLY
    match policy.policy(spec, context, operation):
        case policy.Broadcast(per_component=True):
            yield Way.EACH
        case policy.Broadcast(reads_back=True) if _unreadable(spec) is not None:
            yield Way.UNREAD


def _unreadable(spec: VariableSpec) -> policy.Reason | None:
    """Why the variable cannot be read from outside the replicas; None if it can."""
    cell = policy.policy(spec, Context.CROSS_REPLICA, Operation.READ)
    return cell.reason if isinstance(cell, policy.Refuse) else None


def _worked(
    spec: VariableSpec, context: Context, operation: Operation, way: Way, num_replicas: int
) -> Worked:
    variable = _Variable(spec, num_replicas)
    refused: VariableError | None = None
    if operation is Operation.READ:
        variable.write(Context.REPLICA, Operation.ASSIGN_ADD, Way.PLAINLY)
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
        components=tuple(variable.components),
        outside=outside,
        messages=after - before,
        read_messages=variable.messages - after,
    )


class _Variable:
    """One variable, its components, and what synchronising it has cost.

    `_untold` are the replicas whose components the program has to ask for; `_deferred` says that
    the replicas keep writes that somebody's read will have exchanged.
    """

    def __init__(self, spec: VariableSpec, num_replicas: int) -> None:
        self.messages = 0
        self._spec = spec
        self._replicas = range(num_replicas)
        self._untold: set[int] = set()
        self._deferred = False
        self.components = self._numbers([START] * num_replicas)

    def _numbers(self, values: Iterable[float]) -> list[Array]:
        return [np.asarray(value, self._spec.dtype) for value in values]

    def write(self, context: Context, operation: Operation, way: Way) -> None:
        """Does one of the three assigns, as the policy says.

        Raises:
            VariableError: The policy refuses it; nothing has changed.
        """
        count = len(self._replicas)
        outside = context is Context.CROSS_REPLICA and way is not Way.EACH
        values = self._numbers([WRITTEN] * count if outside else [i + 1 for i in self._replicas])
        match policy.policy(self._spec, context, operation):
            case policy.Merge():
                self._apply(operation, [reduce.aggregate(values, self._spec.aggregation)] * count)
                self.messages += 2 * count
            case policy.Defer():
                self._apply(operation, [reduce.aggregate(values, self._spec.aggregation)] * count)
                self._deferred = True
            case policy.Local() if context is Context.REPLICA:
                self._apply(operation, values)
                self._untold.update(self._replicas)
            case policy.Local():
                self._apply(operation, values)
                self.messages += count
            case policy.Broadcast(shares=shares) as cell:
                self._require_readable(cell, operation, way, values[0])
                self._apply(operation, [self._share(x) for x in values] if shares else values)
                self.messages += count
            case policy.Refuse(reason=reason):
                raise self._refusal(reason, operation, values[0])
            case cell:
                raise AssertionError(f"{cell} is no policy of a write")

    def _require_readable(
        self, cell: policy.Broadcast, operation: Operation, way: Way, value: Array
    ) -> None:
        reason = _unreadable(self._spec)
        if cell.reads_back and way is not Way.UNREAD and reason is not None:
            raise self._refusal(reason, operation, value)

    def _share(self, value: Array) -> Array:
        spec = self._spec
        return reduce.share_of(value, spec.dtype, len(self._replicas), spec.name)

    def _apply(self, operation: Operation, values: Sequence[Array]) -> None:
        both = zip(self.components, values, strict=True)
        self.components = [reduce.apply(operation, component, value) for component, value in both]

    def read(self, context: Context) -> Array:
        """Reads it: in replica context every replica does, and the first one's value is given.

        Raises:
            VariableError: The policy refuses it.
        """
        spec = self._spec
        match policy.policy(spec, context, Operation.READ):
            case policy.Local() if context is Context.REPLICA:
                if self._deferred:  # their parts come with the question
                    self.messages += 2 * len(self._replicas)
                    self._deferred = False
            case policy.Local():
                self._ask(self._replicas)
            case policy.Mirror():
                self._ask(self._replicas[:1])
            case policy.Gather():
                first = spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA
                self._ask(self._replicas[:1] if first else self._replicas)
                return reduce.aggregate(self.components, spec.aggregation)
            case policy.Refuse(reason=reason):
                raise self._refusal(reason, Operation.READ)
            case cell:
                raise AssertionError(f"{cell} is no policy of a read")
        return self.components[0]

    def _refusal(
        self, reason: policy.Reason, operation: Operation, value: Array | None = None
    ) -> VariableError:
        """The error of a cell that refuses; it tells of components that are fetched for it."""
        components = None
        if fixes.looks(reason):
            self._ask(self._replicas)
            components = self.components
        return fixes.refusal(self._spec, reason, operation, components, value)

    def _ask(self, replica_ids: Iterable[int]) -> None:
        """The program finds out what components hold: a question and an answer for each."""
        if self._deferred:  # and the result, to all
            self.messages += 3 * len(self._replicas)
            self._deferred = False
        self.messages += 2 * len(self._untold.intersection(replica_ids))
        self._untold.difference_update(replica_ids)
