"""The messages about deferred writes: their counts on each replica, and their deltas."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.parts import Message
from varsim.spec import Array, Operation


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """The effect of one replica's writes to a deferred variable, from the last exchange on.

    Writes are counted from the variable's creation. The delta covers the writes up to number
    `count`. `operations` is a digest of the operations in order: equal operations have equal
    digests.
    """

    variable_id: int
    since: int  # number of writes that were exchanged before
    count: int  # number of the last write that the delta covers
    operations: int  # digest of all `count` writes
    operation: Operation  # ASSIGN, or ASSIGN_ADD of a sum
    values: tuple[Array, ...]  # one value; empty if this replica's values do not count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PullDeltas(Message):
    """Coordinator → replica: send your delta of a deferred variable. Answered by `DeltaReply`.

    Sent only to a replica that has reported at least `count` writes in a `WriteCounts`.
    """

    request_id: int
    variable_id: int
    count: int  # number of the last write that the delta must cover


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WriteCounts(Message):
    """Replica → coordinator: how often this replica has written deferred variables.

    Writes are counted from the variable's creation. The message covers the variables that were
    written since the last report. It is sent when the outbox is sent, in the same envelope.
    """

    call_id: int
    variable_ids: Array  # int64, (n,), no id twice
    counts: Array  # int64, (n,)
    operations: Array  # int64, (n,); see `Delta`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyncRequest(Message):
    """Replica → coordinator: the replica's program waits until this delta is exchanged.

    Answered by a `Commit`, whose value includes the writes of the delta.
    """

    call_id: int
    delta: Delta
    location: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeltaReply(Message):
    """Replica → coordinator: the replica's delta of a deferred variable; answers `PullDeltas`."""

    request_id: int
    delta: Delta
