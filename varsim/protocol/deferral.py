"""The messages about deferred writes: how often replicas have written, and deltas."""

from __future__ import annotations

from varsim.protocol.parts import Message
from varsim.spec import Array, Operation
from varsim.value_class import value_class


@value_class(eq=False)
class DeltaPart:
    """Consecutive writes of a delta, combined into one write."""

    operation: Operation
    operand: tuple[Array, ...]
    """One value; or the indices and the values of a sparse write; empty if they are not needed."""


@value_class(eq=False)
class Delta:
    """The effect of one replica's writes to a deferred variable since the last exchange.

    Writes are counted from the variable's creation. The delta covers the writes `since` + 1 to
    `count`. `operations` is a digest of the sequence of operations: equal sequences have equal
    digests, and deltas with equal digests have parts with equal operations.
    """

    variable_id: int
    since: int  # number of writes that were exchanged before
    count: int  # number of the last write that the delta covers
    operations: int  # digest of the first `count` operations
    sparse: int  # number of sparse writes among the first `count` writes
    row_bytes: int  # size of the rows of these sparse writes
    parts: tuple[DeltaPart, ...]  # in the order of the writes


@value_class(kw_only=True, eq=False)
class PullDeltas(Message):
    """Coordinator → replica: send your delta of a deferred variable. The answer is a `DeltaReply`.

    Sent only to a replica that has reported at least `count` writes in a `WriteCounts`.
    """

    request_id: int
    variable_id: int
    count: int  # number of the last write that the delta must cover


@value_class(kw_only=True, eq=False)
class WriteCounts(Message):
    """Replica → coordinator: how often this replica has written deferred variables.

    Writes are counted from the variable's creation. The message contains the variables that were
    written since the last `WriteCounts`. The message is sent in the same envelope as the outbox.
    """

    call_id: int
    variable_ids: Array  # int64, (n,), without duplicates
    counts: Array  # int64, (n,); number of writes of each variable
    operations: Array  # int64, (n,); see `Delta`
    sparse: Array  # int64, (n,); see `Delta`
    row_bytes: Array  # int64, (n,); see `Delta`


@value_class(kw_only=True, eq=False)
class SyncRequest(Message):
    """Replica → coordinator: the replica's program waits until this delta is exchanged.

    The answer is one commit for each part of the delta.
    """

    call_id: int
    delta: Delta
    location: str


@value_class(kw_only=True, eq=False)
class DeltaReply(Message):
    """Replica → coordinator: the delta of a deferred variable that `PullDeltas` has requested."""

    request_id: int
    delta: Delta
