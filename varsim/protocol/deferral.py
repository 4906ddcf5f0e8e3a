"""The messages about deferred writes: how many each replica has, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.parts import Message
from varsim.spec import Array, Operation


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """What one replica has done to a deferred variable since its last exchange, up to one write.

    Writes are counted from the variable's creation. `operations` is a digest of all of them in
    order: replicas with the same operations have the same digest.
    """

    variable_id: int
    since: int  # how many of its writes were exchanged before
    count: int  # how many writes it covers, including those
    operations: int  # digest of all `count` writes
    operation: Operation  # ASSIGN, or ASSIGN_ADD of a sum
    values: tuple[Array, ...]  # one, or none if this replica's values do not count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PullDeltas(Message):
    """Coordinator → replica: send your delta of a deferred variable. Answered by `DeltaReply`.

    Sent only to a replica that has reported as many writes in a `WriteCounts`.
    """

    request_id: int
    variable_id: int
    count: int  # of the last write to be in it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WriteCounts(Message):
    """Replica → coordinator: how often I have written deferred variables since their creation.

    It covers the variables written since the last report, and travels with the message that makes
    the outbox leave.
    """

    call_id: int
    variable_ids: Array  # int64, (n,), each once
    counts: Array  # int64, (n,)
    operations: Array  # int64, (n,); see `Delta`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyncRequest(Message):
    """Replica → coordinator: my program waits until this delta of mine is exchanged.

    Answered by a `Commit` that settles as many writes.
    """

    call_id: int
    delta: Delta
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeltaReply(Message):
    """Replica → coordinator: one replica's delta of a deferred variable, as `PullDeltas` asks."""

    request_id: int
    delta: Delta
