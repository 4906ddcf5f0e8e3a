"""Find fixes of a mismatch: changes with which all arrivals can be combined, and the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

import numpy as np

from varsim.errors import Fix
from varsim.protocol.messages import AllReduce, Collective, Write
from varsim.spec import SCATTERS, Array, Context, Operation, ReduceOp, VariableSpec
from varsim.sync import policies, reduce
from varsim.sync.fixes import alternatives, are_few, if_legal
from varsim.sync.mismatch import are_crossed, differ
from varsim.texts.facts import Fact
from varsim.texts.fixes import EACH_WRITES, Agrees, Gives, ReduceAlike, WriteAlike


def of_mismatch(
    collectives: Sequence[Collective],
    values: Sequence[Sequence[Array]],
    specs: Mapping[int, VariableSpec],
) -> Iterator[Fix]:
    """Yield fixes: operations and settings with which all arrivals can be combined.

    Args:
        collectives: One per replica, in replica order; not all are alike.
        values: The values of each replica; empty for a replica whose values are not used.
    """
    few = are_few(chain.from_iterable(values))
    writes = [collective for collective in collectives if isinstance(collective, Write)]
    reductions = [collective for collective in collectives if isinstance(collective, AllReduce)]
    if any(write.operation in SCATTERS for write in writes):
        return  # the replicas may have different numbers of rows
    if len(writes) == len(collectives) and len({write.variable_id for write in writes}) == 1:
        known = [*chain(*values)] if few else None
        yield from _of_writes(specs[writes[0].variable_id], writes, known)
    elif few and len(reductions) == len(collectives):
        yield from _of_reductions(reductions, values)


def _of_writes(
    spec: VariableSpec, writes: Sequence[Write], values: Sequence[Array] | None
) -> Iterator[Fix]:
    """Yield fixes: one operation for all replicas, or settings that permit different writes."""
    one_shape = len({write.shape for write in writes}) == 1  # different shapes cannot be combined
    for operation in dict.fromkeys(write.operation for write in writes):
        if one_shape:
            alike = WriteAlike(operation)
            yield from if_legal(partial(_agreed, alike, spec, operation, values))
    for change, other in alternatives(spec):
        if policies.cell(other, Context.REPLICA, Operation.ASSIGN).refused is not None:
            continue
        if policies.merges(other):
            as_other = {spec.variable_id: other}
            if not any(differ(writes[0], write, as_other) for write in writes[1:]):
                operation = writes[0].operation
                yield from if_legal(partial(_agreed, change, other, operation, values))
        elif one_shape and policies.is_readable(other) and _is_local(other):
            yield Fix(change, EACH_WRITES)


def _is_local(spec: VariableSpec) -> bool:
    return policies.cell(spec, Context.REPLICA, Operation.ASSIGN).is_private


def _agreed(
    change: Fact, spec: VariableSpec, operation: Operation, values: Sequence[Array] | None
) -> Fix:
    """Return a fix with the merge of the values; it has no result if they are not known."""
    value = None
    if values is not None:
        value = np.array(reduce.aggregate(values, spec.aggregation))
    return Fix(change, Agrees(operation, spec.aggregation, value), value)


def _of_reductions(
    reductions: Sequence[AllReduce], values: Sequence[Sequence[Array]]
) -> Iterator[Fix]:
    """Yield fixes: one op for all replicas and, if dtypes differ, one dtype for all values.

    Yield nothing if the names differ, or if there are no names and the lines differ: different
    reductions of a program must not be combined.
    """
    first = reductions[0]
    if any(
        collective.label != first.label or are_crossed(first, collective)
        for collective in reductions
    ):
        return
    if any(collective.structure != first.structure for collective in reductions):
        return
    if len({tuple(leaf.shape for leaf in own) for own in values}) > 1:
        return
    columns = list(zip(*values, strict=True))
    wide = [np.result_type(*column) for column in columns]
    is_cast = any([leaf.dtype for leaf in own] != wide for own in values)
    cast = tuple(dtype.name for dtype in wide) if is_cast else ()
    for op in dict.fromkeys(collective.op for collective in reductions):
        yield from if_legal(partial(_reduced, ReduceAlike(op, cast), op, columns, wide))


def _reduced(
    change: Fact,
    op: ReduceOp,
    columns: Sequence[Sequence[Array]],
    dtypes: Sequence[np.dtype[np.generic]],
) -> Fix:
    results = [
        reduce.reduce([leaf.astype(dtype) for leaf in column], op)
        for column, dtype in zip(columns, dtypes, strict=True)
    ]
    value = results[0] if len(results) == 1 else None
    return Fix(change, Gives(tuple(results)), value)
