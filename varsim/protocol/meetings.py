"""Define the messages of locks, barriers, and values that one replica sends to another.

These operations have no position: a replica does them whenever its program does. A replica that
waits in one of them sends no other message until it has the answer.
"""

from __future__ import annotations

from varsim.protocol.parts import Message, Payload
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class LockRequest(Message):
    """Replica → coordinator: this replica waits for a lock. The answer is a `Granted`."""

    call_id: int
    lock: str  # the program's name of the lock
    is_shared: bool  # whether other replicas can hold the lock at the same time, for reading
    location: str


@value_class(kw_only=True, eq=False)
class LockRelease(Message):
    """Replica → coordinator: this replica no longer holds a lock. There is no answer.

    The end of the function releases all locks of the replica, without such a message.
    """

    call_id: int
    lock: str
    location: str


@value_class(kw_only=True, eq=False)
class BarrierArrival(Message):
    """Replica → coordinator: this replica waits until all replicas, or all members, have arrived.

    The answer is a `Granted`.
    """

    call_id: int
    barrier: str | None  # the program's name of the barrier
    group: tuple[int, ...]  # the members of a process group, in order; () for all replicas
    location: str


@value_class(kw_only=True, eq=False)
class SendRequest(Message):
    """Replica → coordinator: pass a value to another replica.

    The answer is a `Granted`, which is sent when the other replica receives the value.
    """

    call_id: int
    to: int  # the replica that receives the value
    value: Payload
    location: str


@value_class(kw_only=True, eq=False)
class ReceiveRequest(Message):
    """Replica → coordinator: wait for a value of another replica. The answer is a `Passed`."""

    call_id: int
    source: int  # the replica that sends the value
    location: str


@value_class(kw_only=True, eq=False)
class Granted(Message):
    """Coordinator → replica: continue; answers a lock request, a barrier arrival or a send."""

    call_id: int


@value_class(kw_only=True, eq=False)
class Passed(Message):
    """Coordinator → replica: the value that another replica has sent to you."""

    call_id: int
    value: Payload


Meeting = LockRequest | BarrierArrival | SendRequest | ReceiveRequest
"""Messages after which a replica waits for other replicas, in no order that all replicas share."""
