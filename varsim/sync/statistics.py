"""Count what synchronisation costs: of each variable as if it were alone, and of each lock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from varsim.protocol.buckets import size_of
from varsim.protocol.messages import CompressedContribution
from varsim.spec import Shape, Synchronization, VariableAggregation, VariableSpec
from varsim.sync import policies
from varsim.value_class import value_class


@value_class(kw_only=True)
class VariableStatistics:
    """The statistics of one variable.

    `messages` and `size_bytes` count one message for each value that one process sends to another,
    as if each variable were synchronised alone. In fact, one message contains many values.
    """

    variable_id: int
    name: str
    requested: Synchronization
    synchronization: Synchronization
    aggregation: VariableAggregation
    shape: Shape
    dtype: np.dtype[np.generic]
    writes: int  # the writes of the program and of every replica
    reads: int
    merges: int  # writes that were collectives of all replicas
    messages: int
    size_bytes: int
    waited_s: float  # total time that replicas' writes waited for other replicas' writes
    sparse_bytes: int  # the part of `size_bytes` for sparse writes
    dense_bytes: int  # the bytes of the same writes if each message contained the whole value
    spared: int  # components that reads did not fetch again, because they were unchanged
    on_write: Cost | None  # the cost under ON_WRITE; None if writes are not deferred
    one_sided: OneSidedCounts | None = None  # None if no one-sided operation was used
    bounded: BoundedCounts | None = None  # None without bounded staleness
    compression: CompressionCounts | None = None  # None if no contribution was compressed


@dataclass(slots=True)
class CompressionCounts:
    """The compressed contributions to one variable: their size, and what they lacked."""

    contributions: int = 0
    size_bytes: int = 0  # the size of the contributions
    whole_bytes: int = 0  # their size without compression
    squared_changes: float = 0.0  # the sum of the squared norms of the changes
    squared_residuals: float = 0.0  # the sum of the squared norms of the residuals after them

    @property
    def error(self) -> float | None:
        """Return the root mean square of the residuals relative to that of the changes.

        None if there was no change, or if a change was not finite.
        """
        if not (self.squared_changes > 0 and math.isfinite(self.squared_residuals)):
            return None
        error = math.sqrt(self.squared_residuals / self.squared_changes)
        return error if math.isfinite(self.squared_changes) else None


@value_class(kw_only=True)
class Cost:
    """The cost of a variable's synchronisation."""

    merges: int
    messages: int
    size_bytes: int


@dataclass(slots=True)
class LockStatistics:
    """How often one replica got one lock, and how long it waited for it."""

    lock: str
    replica_id: int
    requests: int = 0  # how often it got the lock
    waits: int = 0  # how often another replica held the lock, or was before it in the queue
    waited_s: float = 0.0
    longest_s: float = 0.0
    held_s: float = 0.0


@dataclass(slots=True)
class OneSidedCounts:
    """How often one-sided operations were used, and how old the values were that they read.

    A read is a fetch or a pull. A read is behind by the versions that were published or pushed
    since the reader's previous read of the same value; a replica's own pushes do not count.
    """

    publishes: int = 0
    fetches: int = 0
    pushes: int = 0
    pulls: int = 0
    behind: int = 0  # the sum of the versions by which all reads were behind
    most_behind: int = 0
    age_s: float = 0.0  # the sum of the ages of all values that were read
    longest_age_s: float = 0.0

    @property
    def is_used(self) -> bool:
        """Return whether there was any one-sided operation."""
        return bool(self.publishes or self.fetches or self.pushes or self.pulls)

    def read(self, behind: int, age_s: float) -> None:
        """Count the staleness of a read."""
        self.behind += behind
        self.most_behind = max(self.most_behind, behind)
        self.age_s += age_s
        self.longest_age_s = max(self.longest_age_s, age_s)


@dataclass(slots=True)
class BoundedWait:
    """How often and how long one replica waited for another one at its writes to a variable."""

    replica_id: int
    waited_for: int  # the replica whose write, or whose end, has ended the waits
    waits: int = 0
    waited_s: float = 0.0
    longest_s: float = 0.0


@dataclass(slots=True)
class BoundedCounts:
    """How far replicas were apart at a variable with bounded staleness, and what it cost them.

    A renewal of a cache is behind by the versions that the cache lacked: the changes of the copy
    since the last renewal, without the replica's own writes.
    """

    bound: int  # by how many writes a replica may be ahead of the slowest one
    writes: int = 0  # the writes of all replicas that have taken effect
    renewals: int = 0
    behind: int = 0  # the sum of the versions by which all renewals were behind
    most_behind: int = 0
    most_ahead: int = 0  # by how many writes a replica was ahead of the slowest one, at most
    waits: dict[tuple[int, int], BoundedWait] = field(default_factory=dict)
    """(waiting replica, the replica for which it waited) → its waits."""

    def admitted(
        self, replica_id: int, waited_for: int | None, ahead: int, waited_s: float
    ) -> None:
        """Count a write that has taken effect."""
        self.writes += 1
        self.most_ahead = max(self.most_ahead, ahead)
        if waited_for is None:
            return
        key = replica_id, waited_for
        wait = self.waits.setdefault(key, BoundedWait(*key))
        wait.waits += 1
        wait.waited_s += waited_s
        wait.longest_s = max(wait.longest_s, waited_s)

    def renewed(self, behind: int) -> None:
        """Count a renewal of a cache."""
        self.renewals += 1
        self.behind += behind
        self.most_behind = max(self.most_behind, behind)

    def copied(self) -> BoundedCounts:
        """Return these counts, which do not change any more; the waits are in replica order."""
        return replace(self, waits={key: replace(self.waits[key]) for key in sorted(self.waits)})


@dataclass(slots=True)
class Account:
    """The counters from which `VariableStatistics` is made."""

    spec: VariableSpec
    writes: int = 0
    reads: int = 0
    merges: int = 0
    messages: int = 0
    size_bytes: int = 0
    waited_s: float = 0.0
    sparse_bytes: int = 0
    dense_bytes: int = 0
    spared: int = 0
    deferred: int = 0  # number of merges that ON_WRITE would have made for deferred writes
    deferred_sparse: int = 0  # number of sparse writes among these merges
    deferred_row_bytes: int = 0  # size of the rows of these sparse writes, of all replicas
    exchange_messages: int = 0  # the part of `messages` for exchanges of deferred writes
    exchange_bytes: int = 0  # the part of `size_bytes` for exchanges of deferred writes
    one_sided: OneSidedCounts | None = None  # None if the policy refuses one-sided operations
    bounded: BoundedCounts | None = None  # None without bounded staleness
    compression: CompressionCounts | None = None  # None if no contribution was compressed

    @property
    def first_only(self) -> bool:
        """Return whether the aggregation uses only the first replica's values."""
        return self.spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA

    def merged(
        self, count: int, contributions: int, num_replicas: int, size_bytes: int, waited_s: float
    ) -> None:
        """Count merges of a value of this size, with their writes and commits.

        Args:
            contributions: The number of contributions to all these merges.
        """
        self.writes += contributions
        self.merges += count
        self.waited_s += waited_s
        commits = num_replicas * count
        values = commits + (count if self.first_only else contributions)
        self.moved(contributions + commits, values * size_bytes)

    def merged_compressed(
        self,
        contributions: Sequence[CompressedContribution],
        num_replicas: int,
        size_bytes: int,
        waited_s: float,
    ) -> None:
        """Count a merge of compressed contributions; the commits are not compressed.

        Args:
            size_bytes: The size of a component.
        """
        self.writes += len(contributions)
        self.merges += 1
        self.waited_s += waited_s
        counts = self.compression = self.compression or CompressionCounts()
        sent = sum(part.nbytes for one in contributions for part in one.parts)
        self.moved(len(contributions) + num_replicas, sent + num_replicas * size_bytes)
        counts.contributions += len(contributions)
        counts.size_bytes += sent
        counts.whole_bytes += len(contributions) * size_bytes
        counts.squared_changes += sum(one.change_norm * one.change_norm for one in contributions)
        counts.squared_residuals += sum(
            one.residual_norm * one.residual_norm for one in contributions
        )

    def merged_rows(
        self,
        contributions: int,
        num_replicas: int,
        sent_bytes: int,
        rows_bytes: int,
        dense_bytes: int,
        waited_s: float,
    ) -> None:
        """Count the merge of one sparse write.

        Args:
            contributions: The number of contributions.
            sent_bytes: The size of the rows of all contributions.
            rows_bytes: The size of the rows of the commit.
            dense_bytes: The size of one component.
        """
        self.writes += contributions
        self.merges += 1
        self.waited_s += waited_s
        self._moved_rows(
            contributions + num_replicas,
            sent_bytes + num_replicas * rows_bytes,
            (num_replicas + (1 if self.first_only else contributions)) * dense_bytes,
        )

    def wrote_rows(self, num_replicas: int, rows_bytes: int, dense_bytes: int) -> None:
        """Count a sparse write by the program.

        Args:
            rows_bytes: The total size of the rows that are sent to all replicas.
        """
        self.writes += 1
        self._moved_rows(num_replicas, rows_bytes, num_replicas * dense_bytes)

    def _moved_rows(self, messages: int, size_bytes: int, dense_bytes: int) -> None:
        self.moved(messages, size_bytes)
        self.sparse_bytes += size_bytes
        self.dense_bytes += dense_bytes

    def _values_of(self, num_replicas: int) -> int:
        """Return the number of values that one merge sends, in contributions and commits."""
        return num_replicas + (1 if self.first_only else num_replicas)

    def exchange_moved(self, messages: int, size_bytes: int) -> None:
        """Count messages of an exchange of deferred writes, also in the totals of all messages."""
        self.moved(messages, size_bytes)
        self.exchange_messages += messages
        self.exchange_bytes += size_bytes

    def exchange_moved_rows(self, messages: int, row_bytes: int, dense_bytes: int) -> None:
        """Count messages of an exchange that contain rows.

        Args:
            dense_bytes: The size that whole values in these messages would have.
        """
        self.exchange_moved(messages, row_bytes)
        self.sparse_bytes += row_bytes
        self.dense_bytes += dense_bytes

    def exchanged(self, waited_s: float) -> None:
        """Count an exchange of deferred writes; its messages are counted separately."""
        self.merges += 1
        self.waited_s += waited_s

    def _on_write(self, num_replicas: int, size_bytes: int) -> Cost:
        """Return the cost under ON_WRITE, which merges each write and needs no exchanges."""
        messages = 2 * num_replicas * self.deferred
        dense = self.deferred - self.deferred_sparse
        moved = self._values_of(num_replicas) * size_bytes * dense
        moved += (1 + num_replicas) * self.deferred_row_bytes
        return Cost(
            merges=self.deferred,
            messages=self.messages - self.exchange_messages + messages,
            size_bytes=self.size_bytes - self.exchange_bytes + moved,
        )

    def moved(self, messages: int, size_bytes: int) -> None:
        """Count messages and the bytes of their values."""
        self.messages += messages
        self.size_bytes += size_bytes

    def statistics(self, num_replicas: int) -> VariableStatistics:
        """Return the current values of the counters."""
        spec, one_sided = self.spec, self.one_sided
        on_write = None
        if policies.defers(spec):  # only variables with a fully known shape are deferred
            on_write = self._on_write(num_replicas, size_of(spec.shape) * spec.dtype.itemsize)
        return VariableStatistics(
            variable_id=spec.variable_id,
            name=spec.name,
            requested=spec.requested,
            synchronization=spec.synchronization,
            aggregation=spec.aggregation,
            shape=spec.shape,
            dtype=spec.dtype,
            writes=self.writes,
            reads=self.reads,
            merges=self.merges,
            messages=self.messages,
            size_bytes=self.size_bytes,
            waited_s=self.waited_s,
            sparse_bytes=self.sparse_bytes,
            dense_bytes=self.dense_bytes,
            spared=self.spared,
            on_write=on_write,
            compression=replace(self.compression) if self.compression is not None else None,
            one_sided=replace(one_sided) if one_sided is not None and one_sided.is_used else None,
            bounded=None if self.bounded is None else self.bounded.copied(),
        )
