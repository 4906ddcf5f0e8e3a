"""The messages about deferred writes: who has how many, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.parts import Message
from varsim.spec import Array, Operation


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What one replica has done to a deferred variable since it was exchanged last, up to a write.

    Writes are counted from the variable's creation, and with them what they were: `operations`
    stands for all of them in order, and is equal exactly where they are (but for bad luck).
    """

    variable_id: int
    since: int  # how many of its writes had been exchanged when this was made
    count: int  # how many it tells of, with those exchanged
    operations: int  # of all `count` writes
    operation: Operation  # ASSIGN, or ASSIGN_ADD of what adds up
    values: tuple[Array, ...]  # one, or none if this replica's values do not count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Collect(Message):
    """Coordinator → replica: send your part of a deferred variable. Answered by `Deferred`.

    Sent only to a replica that has told as many writes in a `Tally`.
    """

    request_id: int
    variable_id: int
    count: int  # of the last write to be in it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally(Message):
    """Replica → coordinator: how often I have written deferred variables since their creation.

    Of those written since the last tally; travels with the message that made the outbox leave.
    """

    call_id: int
    variable_ids: Array  # int64, (n,), each once
    counts: Array  # int64, (n,)
    operations: Array  # int64, (n,); see `Part`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand(Message):
    """Replica → coordinator: my program waits until this, my part, is exchanged.

    Answered by a `Commit` that settles as many writes.
    """

    call_id: int
    part: Part
    place: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deferred(Message):
    """Replica → coordinator: one replica's part of a deferred variable, as a `Collect` asked."""

    request_id: int
    part: Part
