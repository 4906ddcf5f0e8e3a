"""Find fixes of a mismatch: changes with which all arrivals can be combined, and the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

import numpy as np

from varsim.errors import Fix
from varsim.protocol.messages import Collective, Combination, Combine, Write
from varsim.spec import SCATTERS, Array, Context, Operation, VariableSpec
from varsim.sync import combining, policies, reduce
from varsim.sync.fixes import alternatives, are_few, if_legal
from varsim.sync.mismatch import are_crossed, differ
from varsim.texts.facts import Fact
from varsim.texts.fixes import (
    EACH_WRITES,
    GIVES_OWN_PARTS,
    Agrees,
    CombineAlike,
    Gives,
    GivesComponents,
    WriteAlike,
)


def of_mismatch(
    collectives: Sequence[Collective],
    values: Sequence[Sequence[Array]],
    specs: Mapping[int, VariableSpec],
) -> Iterator[Fix]:
    """Yield fixes: operations and settings with which all arrivals can be combined.

    Args:
        collectives: One per replica, in replica order; not all are alike.
        values: The values of each replica; empty for a replica whose values are not used, or are
            compressed.
    """
    few = are_few(chain.from_iterable(values))
    writes = [collective for collective in collectives if isinstance(collective, Write)]
    combines = [collective for collective in collectives if isinstance(collective, Combine)]
    if any(write.operation in SCATTERS for write in writes):
        return  # the replicas may have different numbers of rows
    if len(writes) == len(collectives) and len({write.variable_id for write in writes}) == 1:
        known = [*chain(*values)] if few and any(values) else None
        yield from _of_writes(specs[writes[0].variable_id], writes, known)
    elif few and len(combines) == len(collectives):
        yield from _of_combines(combines, values)


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


def _of_combines(combines: Sequence[Combine], values: Sequence[Sequence[Array]]) -> Iterator[Fix]:
    """Yield fixes: the arguments of one replica for all and, if dtypes differ, one dtype for all.

    Yield nothing if the names differ, or if there are no names and the lines differ: different
    collectives of a program must not be combined.
    """
    first = combines[0]
    if any(
        one.label != first.label or are_crossed(first, one) or one.how.kind is not first.how.kind
        for one in combines
    ):
        return
    if any(one.structure != first.structure for one in combines):
        return
    if len({tuple(leaf.shape for leaf in own) for own in values}) > 1:
        return
    columns = list(zip(*values, strict=True))
    wide = [np.result_type(*column) for column in columns]
    is_cast = any([leaf.dtype for leaf in own] != wide for own in values)
    cast = tuple(dtype.name for dtype in wide) if is_cast else ()
    each = [tuple(map(np.ndarray.astype, own, wide)) for own in values]
    weights = [one.weight for one in combines]
    for how in dict.fromkeys(one.how for one in combines):
        for weighs in dict.fromkeys(one.weight is not None for one in combines if one.how == how):
            if weighs and None in weights:
                continue  # the weights of some replicas are not known
            arguments = (*how.arguments(), "weight=…") if weighs else how.arguments()
            change = CombineAlike(first.performs or how.method, arguments, cast, bool(how.group))
            used = weights if weighs else [None] * len(weights)
            yield from if_legal(partial(_combined, change, how, each, used))


def _combined(
    change: Fact,
    how: Combination,
    values: Sequence[tuple[Array, ...]],
    weights: Sequence[float | None],
) -> Fix:
    results = combining.combined(how, values, weights)
    first = results[0]
    value = first[0] if len(first) == 1 else None
    if all(result is first for result in results):
        return Fix(change, Gives(first), value)
    if value is None or how.group:
        return Fix(change, GIVES_OWN_PARTS)
    return Fix(change, GivesComponents(tuple(result[0] for result in results)))
