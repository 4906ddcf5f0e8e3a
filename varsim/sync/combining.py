"""Combine the replicas' values as a collective says: reduce, gather, scatter, exchange or scan."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from varsim.errors import ShapeError
from varsim.protocol.parts import Combination, CombineKind
from varsim.spec import Array, ReduceOp
from varsim.sync import reduce

Leaves = tuple[Array, ...]

_REDUCING = (CombineKind.ALL_REDUCE, CombineKind.REDUCE_SCATTER, CombineKind.SCAN)
_OF_VARIABLES = (CombineKind.ALL_REDUCE, CombineKind.BROADCAST)
_ALONG_AXIS = (CombineKind.ALL_GATHER, CombineKind.REDUCE_SCATTER)


def is_valid(how: Combination, weight: float | None, leaves: int, members: Sequence[int]) -> bool:
    """Return whether a collective has exactly the arguments that its kind needs.

    Args:
        leaves: The number of leaves of a replica's value.
        members: The ids of the replicas that take part in the collective.
    """
    kind, op, root = how.kind, how.op, how.root
    return (
        (op is not None) == (kind in _REDUCING)
        and (how.axis is not None) == (kind in _ALONG_AXIS)
        and (root is not None) == (kind is CombineKind.BROADCAST)
        and (root is None or root in members)
        and (kind is CombineKind.SCAN or not how.exclusive)
        and (kind is not CombineKind.SCAN or op is not ReduceOp.MEAN)
        and (kind is not CombineKind.ALL_TO_ALL or leaves == len(members))
        and (how.variable_id is None or (kind in _OF_VARIABLES and weight is None and leaves == 1))
        and (weight is None or (op is ReduceOp.MEAN and 0 <= weight < math.inf))
    )


def accepts_joined(how: Combination) -> bool:
    """Return whether replicas that have joined can give zeros to a collective.

    Zero changes no sum. A mean divides by the number of all replicas, as in Horovod. For MIN, MAX,
    PROD and ALL, a zero would change the result.
    """
    zero_is_neutral = how.op in {ReduceOp.SUM, ReduceOp.MEAN, ReduceOp.ANY}
    return how.kind is CombineKind.ALL_REDUCE and zero_is_neutral and how.variable_id is None


def with_zeros(
    replica_ids: Sequence[int],
    values: Sequence[Leaves],
    weights: Sequence[float | None],
    joined: Collection[int],
) -> tuple[list[Leaves], list[float | None]]:
    """Return the values and weights of all replicas; those that have joined give zeros.

    Args:
        replica_ids: The replicas that give these values and weights.
        joined: The replicas that have joined.
    Returns:
        The values, in replica order, and the weights: 0 for zeros, if the others have weights.
    """
    zeros = tuple(np.zeros_like(leaf) for leaf in values[0])
    weight = None if weights[0] is None else 0.0
    given = dict(zip(replica_ids, zip(values, weights, strict=True), strict=True))
    each = sorted({**dict.fromkeys(joined, (zeros, weight)), **given}.items())
    return [leaves for _, (leaves, _) in each], [own for _, (_, own) in each]


def combined(
    how: Combination,
    values: Sequence[Leaves],
    weights: Sequence[float | None],
    num_replicas: int | None = None,
) -> Sequence[Leaves]:
    """Return the leaves of each replica's result.

    Args:
        values: The leaves of each replica, in replica order, with the properties that a mismatch
            would report. For ALL_TO_ALL, the leaves of a replica are its values for each replica.
        weights: The weight of each replica, or None for each.
        num_replicas: See `reduce.reduce`. If the collective has a group, the number of its members
            counts.
    Returns:
        One tuple per replica that takes part; the same tuple if all replicas have the same result.
    Raises:
        VarsimError: The values cannot be combined; see `reduce.reduce` and `reduce.concatenate`.
    """
    op, axis, group, count = how.op, how.axis, how.group, len(values)
    num_replicas = len(group) or num_replicas
    given = [weight for weight in weights if weight is not None] or None
    columns = list(zip(*values, strict=True))  # one tuple per leaf, in replica order
    match how.kind:
        case CombineKind.ALL_REDUCE:
            assert op is not None, "see `is_valid`"
            return [tuple(reduce.reduce(one, op, num_replicas, given) for one in columns)] * count
        case CombineKind.ALL_GATHER:
            assert axis is not None, "see `is_valid`"
            return [tuple(reduce.concatenate(one, axis) for one in columns)] * count
        case CombineKind.REDUCE_SCATTER:
            assert op is not None, "see `is_valid`"
            assert axis is not None, "see `is_valid`"
            require_parts(values[0], axis, count)
            reduced = [reduce.reduce(one, op, num_replicas, given) for one in columns]
            return list(zip(*(np.split(one, count, axis) for one in reduced), strict=True))
        case CombineKind.ALL_TO_ALL:
            return columns
        case CombineKind.BROADCAST:
            assert how.root is not None, "see `is_valid`"
            return [values[group.index(how.root) if group else how.root]] * count
        case CombineKind.SCAN:
            assert op is not None, "see `is_valid`"
            scans = [reduce.scan(one, op, exclusive=how.exclusive) for one in columns]
            return list(zip(*scans, strict=True))


def require_parts(leaves: Sequence[Array], axis: int, count: int) -> None:
    """Check that values can be split into equal parts along an axis.

    Raises:
        ShapeError: A value does not have this axis, or its size is not a multiple of the count.
    """
    for leaf in leaves:
        if not 0 <= axis < leaf.ndim:
            raise ShapeError(
                "(value)",
                f"cannot split a value of {leaf.ndim} dimensions along axis {axis}",
                "Axes count from 0; a scalar has no parts: use all_reduce.",
            )
        size = leaf.shape[axis]
        if size % count:
            raise ShapeError(
                "(value)",
                f"cannot split {size} rows along axis {axis} into {count} equal parts: "
                f"{size} = {count} · {size // count} + {size % count}",
                f"Pad the value to {size + count - size % count} rows, or use all_reduce.",
            )
