"""Compute worked examples of manual operations with the engine's functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from varsim.errors import OperationError
from varsim.protocol.parts import Combination, CombineKind
from varsim.report.explain_worked import START
from varsim.spec import (
    Array,
    ManualOperation,
    Operation,
    ReduceOp,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import combining, reduce
from varsim.sync.manual import check_manual


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualExample:
    """A manual operation after replica i has added i + 1, as in the row of a read.

    A pull or a fetch has a value. The components are those after the operation.
    """

    aggregation: VariableAggregation
    called: str  # the operation, as the program writes it
    refused: OperationError | None  # the error; None if the operation is allowed
    components: tuple[Array, ...]
    value: Array | None
    messages: int


def manual_examples(spec: VariableSpec, num_replicas: int) -> Iterator[ManualExample]:
    """Yield the examples with the settings of a spec."""
    added = [np.asarray(np.float32(i + 1)) for i in range(num_replicas)]
    start = np.asarray(np.float32(START))
    components = tuple(reduce.apply(Operation.ASSIGN_ADD, start, one) for one in added)

    def example(
        called: str,
        operation: ManualOperation,
        value: Array | None,
        messages: int,
        after: tuple[Array, ...] = components,
    ) -> ManualExample:
        refused = _refusal(spec, operation)
        return ManualExample(
            aggregation=spec.aggregation,
            called=called,
            refused=refused,
            components=after,
            value=value if refused is None else None,
            messages=messages,
        )

    for called, how in (
        ("v.sync('MEAN')", Combination(CombineKind.ALL_REDUCE, ReduceOp.MEAN)),
        ("v.broadcast(0)", Combination(CombineKind.BROADCAST, root=0)),
    ):
        operation = ManualOperation.SYNC if how.root is None else ManualOperation.BROADCAST
        leaves = [(one,) for one in components]
        ((value,), *_) = combining.combined(how, leaves, [None] * num_replicas)
        yield example(called, operation, value, 2 * num_replicas, (value,) * num_replicas)
    copy = start
    for one in added:
        copy = reduce.apply(Operation.ASSIGN_ADD, copy, one)
    fetch, pull = ManualOperation.FETCH, ManualOperation.PULL
    yield example("v.publish() by replica 0, v.fetch(0)", fetch, components[0], 3)
    yield example("v.push(i + 1) by each, v.pull()", pull, copy, num_replicas + 2)


def _refusal(spec: VariableSpec, operation: ManualOperation) -> OperationError | None:
    try:
        check_manual(replace(spec, shape=()), operation)
    except OperationError as error:
        return error
    return None
