"""What would have made one meeting of what replicas came with, and the value it would give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

import numpy as np

from varsim.errors import Fix
from varsim.protocol.messages import AllReduce, Point, Write
from varsim.spec import Array, Context, Operation, ReduceOp, VariableAggregation, VariableSpec
from varsim.sync import policies, reduce
from varsim.sync.fixes import COMBINED, DOES, alternatives, are_few, if_legal, shown
from varsim.sync.mismatch import are_crossed, differ


def of_meeting(
    points: Sequence[Point],
    values: Sequence[Sequence[Array]],
    specs: Mapping[int, VariableSpec],
) -> Iterator[Fix]:
    """Deeds and settings with which all replicas would have met.

    Args:
        points: Of all replicas, in replica order; they are not alike.
        values: What each of them came with; nothing where that does not count.
    """
    few = are_few(chain.from_iterable(values))
    writes = [point for point in points if isinstance(point, Write)]
    reductions = [point for point in points if isinstance(point, AllReduce)]
    if len(writes) == len(points) and len({write.variable_id for write in writes}) == 1:
        known = [*chain(*values)] if few else None
        yield from _of_writes(specs[writes[0].variable_id], writes, known)
    elif few and len(reductions) == len(points):
        yield from _of_reductions(reductions, values)


def _of_writes(
    spec: VariableSpec, writes: Sequence[Write], values: Sequence[Array] | None
) -> Iterator[Fix]:
    """One operation for all, or settings with which these writes need not be alike."""
    one_shape = len({write.shape for write in writes}) == 1  # others cannot be combined
    for operation in dict.fromkeys(write.operation for write in writes):
        if one_shape:
            change = f"v.{operation.value} on every replica"
            yield from if_legal(partial(_agreed, change, spec, operation, values))
    for change, other in alternatives(spec):
        if policies.merges(other):
            as_other = {spec.variable_id: other}
            if not any(differ(writes[0], write, as_other) for write in writes[1:]):
                operation = writes[0].operation
                yield from if_legal(partial(_agreed, change, other, operation, values))
        elif one_shape and policies.is_readable(other) and _is_local(other):
            yield Fix(change, "each replica writes as it likes; a read outside combines")


def _is_local(spec: VariableSpec) -> bool:
    return policies.cell(spec, Context.REPLICA, Operation.ASSIGN).is_private


def _agreed(
    change: str, spec: VariableSpec, operation: Operation, values: Sequence[Array] | None
) -> Fix:
    """The merge of these values, if they are known."""
    if values is None:
        return Fix(
            change, f"{DOES[operation]} {COMBINED[spec.aggregation]} of the replicas' values"
        )
    value = np.array(reduce.aggregate(values, spec.aggregation))
    whose = "replica 0's " if spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA else ""
    return Fix(change, f"{DOES[operation]} {whose}{shown(value)}", value)


def _of_reductions(
    reductions: Sequence[AllReduce], values: Sequence[Sequence[Array]]
) -> Iterator[Fix]:
    """One op for all and, where dtypes differ, one dtype that holds them all.

    Only of what is one reduction by its name, or else by its line: others' values are not mixed.
    """
    first = reductions[0]
    if any(point.label != first.label or are_crossed(first, point) for point in reductions):
        return
    if any(point.structure != first.structure for point in reductions):
        return
    if len({tuple(leaf.shape for leaf in own) for own in values}) > 1:
        return
    columns = list(zip(*values, strict=True))
    wide = [np.result_type(*column) for column in columns]
    is_cast = any([leaf.dtype for leaf in own] != wide for own in values)
    cast = f" of {', '.join(dtype.name for dtype in wide)}" if is_cast else ""
    for op in dict.fromkeys(point.op for point in reductions):
        change = f"all_reduce({op.name}){cast} on every replica"
        yield from if_legal(partial(_reduced, change, op, columns, wide))


def _reduced(
    change: str,
    op: ReduceOp,
    columns: Sequence[Sequence[Array]],
    dtypes: Sequence[np.dtype[np.generic]],
) -> Fix:
    results = [
        reduce.reduce([leaf.astype(dtype) for leaf in column], op)
        for column, dtype in zip(columns, dtypes, strict=True)
    ]
    value = results[0] if len(results) == 1 else None
    return Fix(change, f"gives {', '.join(map(shown, results))}", value)
