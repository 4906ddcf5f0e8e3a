"""Find alternatives to a refused value for a variable, and suggest only the legal ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from varsim.distribute.conversion import as_number, as_tensor, to_array
from varsim.errors import AggregationError, Fix, VariableError, VarsimError
from varsim.extension_dtypes import kind_of
from varsim.location import user_location
from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import policies
from varsim.sync.components import check_shape
from varsim.sync.fixes import alternatives, are_few, if_legal, merged
from varsim.sync.policies.legality import check_arithmetic, check_gather
from varsim.texts.facts import Fact
from varsim.texts.fixes import ChangeDtype, Does, Says


def explain(
    error: VariableError,
    spec: VariableSpec,
    context: Context,
    operation: Operation,
    value: Any,
    num_replicas: int,
) -> None:
    """Add the location, and the alternatives as fixes, to the error of a refused write."""
    error.location = error.location or user_location()
    if not error.fixes:
        does = partial(_done, context=context, operation=operation, num_replicas=num_replicas)
        error.fixed_by(_of_operand(error, spec, value, does))


def _of_operand(
    error: VariableError, spec: VariableSpec, value: Any, does: partial[Fix]
) -> Iterator[Fix]:
    array = _number(value)
    if array is None or not are_few([array]):
        return
    for change, candidate in _recast(value, array, spec):
        yield from if_legal(partial(does, change, spec, candidate))
    if isinstance(error, AggregationError):
        for change, other in filter(_is_whole, alternatives(spec)):
            yield from if_legal(partial(does, change, other, array))
    own = np.dtype("int32") if array.dtype.kind == "b" else array.dtype
    if own != spec.dtype and _can_be_created(spec, own):
        change, other = ChangeDtype(own, of_variable=True), replace(spec, dtype=own)
        yield from if_legal(partial(does, change, other, array.astype(own)))


def _is_whole(alternative: tuple[Fact, VariableSpec]) -> bool:
    """Return True if replicas' writes are legal and do not diverge, and the result can be read."""
    _, spec = alternative
    cell = policies.cell(spec, Context.REPLICA, Operation.ASSIGN)
    return cell.refused is None and not cell.diverges and policies.is_readable(spec)


def _can_be_created(spec: VariableSpec, dtype: np.dtype[Any]) -> bool:
    try:
        policies.resolve(replace(spec, dtype=dtype), strict=False)
    except VariableError:
        return False
    return True


def _number(value: Any) -> Array | None:
    """Return the value as an array with TensorFlow's dtype or a wider one; None if impossible."""
    for convert in (as_tensor, partial(as_number, variable="")):
        try:
            return convert(value)
        except VarsimError:
            continue
    return None


def _recast(value: Any, array: Array, spec: VariableSpec) -> Iterator[tuple[Fact, Array]]:
    """Yield the value, converted to the variable's dtype or shape, with the code that converts it.

    A conversion to an integer dtype can truncate fractions.
    """
    dtype, kinds = spec.dtype, kind_of(array.dtype) + kind_of(spec.dtype)
    if array.dtype != dtype and "b" not in kinds and kinds != "cf" and kinds[1:] != "u":
        with np.errstate(all="ignore"):
            cast = array.astype(dtype)
        if dtype.kind != "i" or np.array_equal(np.trunc(array), cast):
            is_tensor = hasattr(type(value), "__dlpack__") and not isinstance(value, np.ndarray)
            text = f"tf.cast(value, {dtype.name!r})"
            yield Says(text if is_tensor else f"np.asarray(value).astype({dtype.name!r})"), cast
    if None in spec.shape or array.shape == spec.shape:
        return
    shape, text = tuple(size for size in spec.shape if size is not None), "value"
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        return
    if not isinstance(value, np.ndarray | np.generic):  # numbers take the variable's dtype
        array, text = array.astype(dtype), f"np.asarray(value, {dtype.name!r})"
    try:
        yield Says(f"np.broadcast_to({text}, {shape})"), np.broadcast_to(array, shape)
    except ValueError:
        if array.size == np.prod(shape):
            yield Says(f"np.reshape({text}, {shape})"), array.reshape(shape)


def _done(
    change: Fact,
    spec: VariableSpec,
    value: Array,
    *,
    context: Context,
    operation: Operation,
    num_replicas: int,
) -> Fix:
    """Return a fix: a write of another value, or the same write with another spec.

    Raises:
        VariableError: The write with the fix is also refused.
    """
    value = to_array(value, spec.dtype, spec.name)
    cell = policies.cell(spec, context, operation)
    merges = cell.combines
    check_arithmetic(spec, operation, num_replicas if merges else 1)
    check_shape(spec, operation, value.shape, value)
    if merges:
        return merged(change, spec, operation, value, num_replicas)
    if policies.cell(spec, Context.CROSS_REPLICA, Operation.READ).gathers:
        check_gather(spec, num_replicas)
    return Fix(change, Does(operation, value), value)
