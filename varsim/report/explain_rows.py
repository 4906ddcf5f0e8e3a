"""Compute worked examples of sparse writes from the policy cells, as in `explain_worked`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from varsim.errors import UnsupportedOperation
from varsim.report.explain_worked import START, WRITTEN, shown_components
from varsim.spec import SCATTERS, Array, Context, Operation, Rows, VariableAggregation, VariableSpec
from varsim.sync import fixes, policies
from varsim.sync.policies.known import Known

ROWS: Final = 2
"""The number of rows of the variable in every example. A row is one number."""

SHOWN: Final = (
    Operation.SCATTER_ADD,
    Operation.SCATTER_MUL,
    Operation.SCATTER_MIN,
    Operation.SCATTER_UPDATE,
)
"""The operations with an example. The other sparse writes have the same rules as one of them."""

CONTEXTS: Final = (Context.REPLICA, Context.CROSS_REPLICA)
"""The contexts with examples: all except update context, in which settings have no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseExample:
    """A sparse write of a fresh variable, followed by a read of all components."""

    aggregation: VariableAggregation
    context: Context
    operation: Operation
    refused: UnsupportedOperation | None  # the error; None if the write is not refused
    components: tuple[Array, ...]
    messages: int  # number of messages of the write
    size_bytes: int  # size of the indices and values in these messages


@dataclass(frozen=True, slots=True)
class SparseMeaning:
    """The effect of sparse writes with some aggregations."""

    context: Context
    operations: tuple[Operation, ...]
    aggregations: tuple[VariableAggregation, ...]  # empty: all aggregations of the page
    sentence: str


def written_rows(context: Context, num_replicas: int) -> list[Rows]:
    """Return the rows of the examples: each replica's rows, or the same rows for every replica."""
    if context is Context.CROSS_REPLICA:
        return [_rows([0, 0], WRITTEN)] * num_replicas
    return [_rows([0, i % ROWS], i + 1) for i in range(num_replicas)]


def _rows(indices: Sequence[int], value: float) -> Rows:
    return Rows(np.array(indices, np.int64), np.full(len(indices), value, np.float32))


def sparse_examples(
    spec: VariableSpec, num_replicas: int, operations: Sequence[Operation] = SHOWN
) -> Iterator[SparseExample]:
    """Yield the examples of operations with the settings of a spec."""
    spec = replace(spec, shape=(ROWS,))
    for context in CONTEXTS:
        rows = written_rows(context, num_replicas)
        for operation in operations:
            cell = policies.cell(spec, context, operation)
            start: Array = np.full(ROWS, START, np.float32)
            components = [start] * num_replicas
            refused, messages, size_bytes = None, 0, 0
            if cell.refused is not None:
                refused = fixes.refusal_of_rows(spec, cell.refused, context, operation)
            else:
                size_bytes = cell.bytes_of_rows(spec, rows, components[0].nbytes)
                known = Known(num_replicas)
                messages = cell.cost(spec, operation, components, rows, known)
                components = cell.written(spec, operation, components, rows)
            yield SparseExample(
                aggregation=spec.aggregation,
                context=context,
                operation=operation,
                refused=refused,
                components=tuple(components[: shown_components(spec)]),
                messages=messages,
                size_bytes=size_bytes,
            )


def sparse_meanings(specs: Sequence[VariableSpec]) -> Iterator[SparseMeaning]:
    """Yield the sentences, each only once for all operations and aggregations that it is about."""
    for context in Context:
        concerned: dict[tuple[str, tuple[Operation, ...]], list[VariableAggregation]] = {}
        for spec in specs:
            told: dict[str, list[Operation]] = {}
            for operation in SCATTERS:
                text = policies.cell(spec, context, operation).text
                told.setdefault(text.rows or text.write, []).append(operation)
            for sentence, operations in told.items():
                concerned.setdefault((sentence, tuple(operations)), []).append(spec.aggregation)
        for (sentence, those), aggregations in concerned.items():
            whole = len(aggregations) == len(specs)
            yield SparseMeaning(context, those, () if whole else tuple(aggregations), sentence)
