"""Let the cell of a policy compute the result of a merge, and check what it returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from varsim.errors import OperationError
from varsim.spec import Array, VariableSpec
from varsim.sync.policies.cell import Cell, Exchange
from varsim.texts.refusals import BadExchange

_REMEDY = (
    "Correct the method `exchanged` of this cell: for each replica it returns one array that has "
    "the shape and the dtype of the contributed component."
)


def computed(
    cell: Cell, spec: VariableSpec, components: Sequence[Array], copy: Array | None
) -> Exchange:
    """Return the result of an exchange. Its arrays are new, and share no memory with the arguments.

    Args:
        cell: The cell whose method `exchanged` computes the result.
        components: The component of each replica, in replica order; all have one shape.
        copy: The authoritative copy; None if the policy keeps no copy.
    Raises:
        OperationError: The method raises an exception, or returns something else.
    """
    given = [_closed(one) for one in components]
    try:
        with np.errstate(all="ignore"):  # an overflow to infinity is a value
            found = cell.exchanged(spec, given, copy)
        news = [np.array(one, order="C") for one in found.components]
        new_copy = None if found.copy is None else np.array(found.copy, order="C")
    except Exception as error:  # the code of a policy can be anybody's
        raise _wrong(spec, f"{type(error).__name__}: {error}") from error
    if len(news) != len(given):
        raise _wrong(spec, f"it returns {len(news)} components for {len(given)} replicas")
    if new_copy is not None and copy is None:
        raise _wrong(spec, "it returns a copy, and the policy has no `keeps_copy`")
    for one in news if new_copy is None else (*news, new_copy):
        if (one.shape, one.dtype) != (given[0].shape, spec.dtype):
            raise _wrong(
                spec,
                f"it returns shape {one.shape} and dtype {one.dtype} instead of "
                f"{given[0].shape} and {spec.dtype}",
            )
    return Exchange(news, new_copy)


def _wrong(spec: VariableSpec, what: str) -> OperationError:
    return OperationError(spec.name, BadExchange(spec.synchronization, what), _REMEDY)


def _closed(component: Array) -> Array:
    """Return a view through which nothing can be written."""
    view = component.view()
    view.setflags(write=False)
    return view
