"""Compute a merge of large arrays piece by piece, so that each contribution is read only once.

`reduce` makes one pass over the whole arrays for each replica, so large arrays are loaded into the
cache repeatedly. This module divides the arrays into pieces, and combines all replicas' values of
one piece before the next piece. Every element is computed by the same operations in the same order
as in `reduce`, so the result is equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from varsim.spec import Array, Operation, VariableAggregation

PIECE_BYTES: Final = 512 * 1024
"""Size of a piece. The sum and the pieces that are added to it fit into the cache of one core."""


def merge_into(
    out: Array,
    values: Sequence[Array],
    aggregation: VariableAggregation,
    operation: Operation,
    mirror: Array | None,
) -> None:
    """Write the result of `reduce.merge` to `out`.

    Args:
        out: An array of the same shape and dtype as all other arrays. All are C-contiguous.
        values: One per replica, in replica order. For ONLY_FIRST_REPLICA, the first value is
            sufficient.
        mirror: The value of all components; None to write the combined value itself.
    """
    if aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
        values = values[:1]
    flat = [value.reshape(-1) for value in values]
    before = None if mirror is None else mirror.reshape(-1)
    target = out.reshape(-1)
    divisor = len(values) if aggregation is VariableAggregation.MEAN else 1
    step = max(1, PIECE_BYTES // out.dtype.itemsize)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for start in range(0, target.size, step):
            piece = slice(start, start + step)
            total = target[piece]
            fold_into(total, [value[piece] for value in flat], np.add)
            finish_into(total, divisor, operation, None if before is None else before[piece])


def fold_into(total: Array, values: Sequence[Array], ufunc: np.ufunc) -> None:
    """Write the left fold of values to `total`, which may be the first value itself.

    Call this with NumPy's warnings disabled, as `reduce` does.
    """
    if len(values) == 1:
        np.copyto(total, values[0])
        return
    ufunc(values[0], values[1], out=total)
    for value in values[2:]:
        ufunc(total, value, out=total)


def finish_into(total: Array, divisor: int, operation: Operation, before: Array | None) -> None:
    """Turn a fold into the result of the merge, in place.

    Args:
        divisor: The number of values for a MEAN; else 1.
        before: The value of all components; None to keep the combined value itself.
    """
    if divisor > 1:
        np.divide(total, total.dtype.type(divisor), out=total)
    if before is None:
        return
    if operation is Operation.ASSIGN_ADD:
        np.add(before, total, out=total)
    elif operation is Operation.ASSIGN_SUB:
        np.subtract(before, total, out=total)
