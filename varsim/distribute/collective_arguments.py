"""Check the arguments that the methods of collectives and meetings have in common."""

from __future__ import annotations

from typing import Any

from varsim.errors import DistributedValueError
from varsim.nearest import listed
from varsim.protocol.limits import check_name
from varsim.spec import ReduceOp


def parse_op(op: Any) -> ReduceOp:
    """Return a ReduceOp, given the ReduceOp or its name in upper or lower case.

    Raises:
        ValueError: The name is unknown.
        TypeError: `op` has another type, for example VariableAggregation.
    """
    if isinstance(op, ReduceOp):
        return op
    if isinstance(op, str):
        try:
            return ReduceOp(op.upper())
        except ValueError as error:
            raise ValueError(
                f"invalid ReduceOp {op!r}: use {listed(one.name for one in ReduceOp)}"
            ) from error
    raise TypeError(f"invalid ReduceOp {op!r}: use ReduceOp.SUM or ReduceOp.MEAN")


def checked_name(name: Any, owner: str) -> str:
    """Return a name of the program as a plain str.

    Args:
        owner: What has the name, such as "a collective".
    Raises:
        TypeError: The name is no text.
        ValueError: The name is empty or too long, or contains unprintable characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"name={name!r}: the name of {owner} must be a str, such as name='loss'")
    if not name or not name.isprintable():
        raise DistributedValueError(f"name={name!r}: the name of {owner} must be printable text")
    check_name(name, f"the name of {owner}")
    return str.__str__(name)  # converts an instance of a subclass, such as NumPy's, to a plain str
