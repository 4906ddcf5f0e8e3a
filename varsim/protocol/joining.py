"""Define the messages of replicas that join: they have no more values to give."""

from __future__ import annotations

from varsim.protocol.parts import Message
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class Join(Message):
    """Replica → coordinator: this replica takes part in no more collectives until all have joined.

    Collectives of process groups are not concerned. The answer is a `Joined`.
    """

    call_id: int
    position: int  # the position of the first collective without this replica
    location: str


@value_class(kw_only=True, eq=False)
class Joined(Message):
    """Coordinator → replica: all replicas have joined; take part in the next collectives."""

    call_id: int
    position: int  # the next collective has the position after this one
    last: int  # the replica that took part in most collectives; of several, the highest id
