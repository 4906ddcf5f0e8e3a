"""The messages of variables with bounded staleness: writes to one copy, and renewals of caches.

The clock of a replica is its number of writes to a variable in one call. A replica that would be
too many writes ahead of the slowest one waits for the answer to its write.
"""

from __future__ import annotations

from varsim.protocol.parts import Message
from varsim.spec import Array, Operation
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class BoundedWrite(Message):
    """Replica → coordinator: change the copy of a variable by this operand.

    If `waits` is true, the answer is a `FreshCopy`, which is sent when no running replica is too
    many writes behind. Otherwise the replica continues, and there is no answer. The write has no
    effect if its call has failed.
    """

    call_id: int
    variable_id: int
    operation: Operation  # ASSIGN_ADD or ASSIGN_SUB
    clock: int  # the number of the replica's writes to the variable in this call, with this one
    waits: bool
    operand: Array  # shape and dtype of the variable; not divided by the number of replicas
    location: str


@value_class(kw_only=True, eq=False)
class CopyRequest(Message):
    """Replica → coordinator: send the copy of a variable. The answer is a `FreshCopy`."""

    call_id: int
    variable_id: int
    location: str


@value_class(kw_only=True, eq=False)
class FreshCopy(Message):
    """Coordinator → replica: the copy of a variable, which replaces the replica's cache.

    It answers a `BoundedWrite` that waits, or a `CopyRequest`. The copy contains all own writes of
    the replica.
    """

    call_id: int
    variable_id: int
    version: int  # the number of changes of the copy
    slowest: int  # the copy has so many writes of every other running replica, or more
    value: Array  # shape and dtype of the variable
