"""Store the writes to deferred variables that a replica has not exchanged yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buckets import PACK_LIMIT_BYTES
from varsim.protocol.messages import Delta, DeltaPart, WriteCounts
from varsim.spec import SCATTERS, Array, Operand, Operation, Rows
from varsim.sync import reduce, scatter
from varsim.sync.update_buffers import Allocate
from varsim.value_class import value_class

MAX_ENTRIES: Final = 1024
"""Limit of entries per variable. At the limit, the program waits for an exchange of the entries."""

MAX_LOG_BYTES: Final = 64 * 2**20
"""Limit of the total size of the values that are kept for one variable, to bound the memory."""

_WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB, *SCATTERS)
_NUMBERS: Final = {operation: number for number, operation in enumerate(_WRITES, 1)}
_FIRST_SPARSE: Final = _NUMBERS[SCATTERS[0]]  # the numbers of dense writes are smaller
_SPARSE: Final = frozenset(SCATTERS)
_PRIME: Final = 2**61 - 1  # hashes of operations are smaller, so that they fit into an int64


@dataclass(frozen=True, slots=True, order=True)
class WriteCount:
    """The number and the operations of a replica's writes to a variable."""

    count: int
    operations: int  # a hash of the sequence of operations
    sparse: int = field(default=0, compare=False)  # number of sparse writes among them
    row_bytes: int = field(default=0, compare=False)  # size of the rows of these sparse writes


NO_WRITES: Final = WriteCount(0, 0)
"""The write count of a variable that has not been written yet."""


@value_class(eq=False)
class LogEntry:
    """One write, or consecutive writes between which no program reads the variable."""

    count: int  # number of all writes up to this entry
    operations: int  # hash of the operations of these writes
    sparse: int  # number of sparse writes among these writes
    row_bytes: int  # size of the rows of these sparse writes
    operation: Operation
    operand: Operand | None  # None if the aggregation does not use this replica's values

    @property
    def size_bytes(self) -> int:
        """Return the size of the entry's operand."""
        return 0 if self.operand is None else self.operand.nbytes


class Log:
    """The writes of one replica to one variable, in order.

    The writes of a running call stay separate entries, because another replica may read the
    variable after fewer writes.
    """

    __slots__ = (
        "count",
        "entries",
        "operations",
        "row_bytes",
        "settled",
        "size_bytes",
        "sparse",
    )

    def __init__(self) -> None:
        self.settled = NO_WRITES
        self.count = 0  # number of all writes of this replica
        self.operations = 0  # hash of the operations of these writes
        self.sparse = 0  # number of sparse writes among these writes
        self.row_bytes = 0  # size of the rows of these sparse writes
        self.entries: list[LogEntry] = []
        self.size_bytes = 0

    @property
    def write_count(self) -> WriteCount:
        """Return the write count after this replica's last write."""
        return WriteCount(self.count, self.operations, self.sparse, self.row_bytes)

    @property
    def is_full(self) -> bool:
        """Return whether the log is so large that its writes must be exchanged now."""
        return len(self.entries) >= MAX_ENTRIES or self.size_bytes >= MAX_LOG_BYTES

    def write(self, operation: Operation, operand: Operand | None) -> None:
        """Add a write. The caller must not change its arrays afterwards."""
        self.count += 1
        number = _NUMBERS[operation]
        self.operations = (self.operations * 16 + number) % _PRIME
        size_bytes = 0 if operand is None else operand.nbytes
        if number >= _FIRST_SPARSE:
            self.sparse += 1
            self.row_bytes += size_bytes
        self.size_bytes += size_bytes
        self.entries.append(
            LogEntry(self.count, self.operations, self.sparse, self.row_bytes, operation, operand)
        )

    def fold(self, count: int) -> None:
        """Combine the entries after the first `count` writes: no program reads between them."""
        start = sum(entry.count <= count for entry in self.entries)
        if len(self.entries) - start > 1:
            self._keep([*self.entries[:start], *combined(self.entries[start:], np.empty)])

    def delta(self, variable_id: int, count: int, allocate: Allocate) -> Delta:
        """Return the combined effect of the first `count` writes."""
        taken = [entry for entry in self.entries if entry.count <= count]
        assert taken, "there is nothing to exchange"
        assert taken[-1].count == count, "an entry ends at every possible read"
        last = taken[-1]
        return Delta(
            variable_id=variable_id,
            since=self.settled.count,
            count=count,
            operations=last.operations,
            sparse=last.sparse,
            row_bytes=last.row_bytes,
            parts=tuple(
                DeltaPart(entry.operation, _arrays(entry.operand))
                for entry in combined(taken, allocate)
            ),
        )

    def settle(self, count: int) -> None:
        """Drop the first `count` writes, which are exchanged, or overwritten by the program."""
        settled = [entry for entry in self.entries if entry.count <= count]
        if settled:
            last = settled[-1]
            self.settled = WriteCount(last.count, last.operations, last.sparse, last.row_bytes)
            self._keep(self.entries[len(settled) :])

    def truncate(self, count: int) -> None:
        """Drop all writes after the first `count` writes: their call has failed."""
        self._keep([entry for entry in self.entries if entry.count <= count])

    def _keep(self, entries: list[LogEntry]) -> None:
        self.entries = entries
        last = entries[-1] if entries else self.settled
        self.count, self.operations = last.count, last.operations
        self.sparse, self.row_bytes = last.sparse, last.row_bytes
        self.size_bytes = sum(entry.size_bytes for entry in entries)


# ---------------------------------------------------------------- combined writes

_ADDITIONS: Final = frozenset(
    {
        Operation.ASSIGN,  # can only be the first write of a run, because it drops earlier writes
        Operation.ASSIGN_ADD,
        Operation.ASSIGN_SUB,
        Operation.SCATTER_ADD,
        Operation.SCATTER_SUB,
    }
)
_SUBTRACTIONS: Final = (Operation.ASSIGN_SUB, Operation.SCATTER_SUB)


def combined(entries: Sequence[LogEntry], allocate: Allocate) -> list[LogEntry]:
    """Combine consecutive writes into as few writes as possible.

    An assign replaces all earlier writes. Additions and subtractions of values and rows are summed.
    Other sparse writes with the same operation are joined. The operations of the result depend only
    on the operations of the writes, and not on whether some writes were combined before. So the
    operations of the result are equal on all replicas.
    """
    assigns = [i for i, entry in enumerate(entries) if entry.operation is Operation.ASSIGN]
    kept = entries[assigns[-1] :] if assigns else entries
    return [_combined(run, allocate) for run in _runs(kept)]


def _runs(entries: Sequence[LogEntry]) -> list[Sequence[LogEntry]]:
    """Split writes into runs that can be combined; only the first write can be an assign."""
    first, last = entries[0], entries[-1]
    if first.operation not in _SPARSE and first.sparse == last.sparse:
        return [entries]  # there are only additions of values, perhaps thousands
    starts = [
        index
        for index, (before, entry) in enumerate(pairwise(entries), 1)
        if not _continues(before.operation, entry.operation)
    ]
    return [entries[start:stop] for start, stop in pairwise([0, *starts, len(entries)])]


def _continues(before: Operation, operation: Operation) -> bool:
    """Return whether two consecutive writes can be combined into one.

    Divisions stay separate, because their order matters if a quotient of integers overflows.
    """
    if operation in _ADDITIONS:
        return before in _ADDITIONS
    return before is operation and operation is not Operation.SCATTER_DIV


def _combined(run: Sequence[LogEntry], allocate: Allocate) -> LogEntry:
    """Return the sum of additions, or the joined rows of other sparse writes.

    The operand of the result can be the operand of an entry.
    """
    operation = run[0].operation
    if operation in _ADDITIONS and operation is not Operation.ASSIGN:
        is_dense = any(entry.operation not in _SPARSE for entry in run)
        operation = Operation.ASSIGN_ADD if is_dense else Operation.SCATTER_ADD
    last = run[-1]
    operand = last.operand
    if operand is not None and (len(run) > 1 or last.operation in _SUBTRACTIONS):
        operand = _joined(run) if operation in _SPARSE else _sum(run, allocate)
    return LogEntry(last.count, last.operations, last.sparse, last.row_bytes, operation, operand)


def _sum(run: Sequence[LogEntry], allocate: Allocate) -> Array:
    """Return the sum of additions, at least one of which has a value for all rows.

    If the first write is a subtraction, its value is negated: adding a negated value gives exactly
    the same result.
    """
    index = next(i for i, entry in enumerate(run) if entry.operation not in _SPARSE)
    first, others = run[index], [*run[:index], *run[index + 1 :]]
    value = first.operand
    assert isinstance(value, np.ndarray), "the operand of a dense write is a value"
    large = value.nbytes > PACK_LIMIT_BYTES
    total = allocate(value.shape, value.dtype) if large else np.empty_like(value)
    if first.operation is Operation.ASSIGN_SUB:
        np.negative(value, out=total)
    else:
        np.copyto(total, value)
    limits = reduce.limits_of(total.dtype)
    for entry in others:
        assert entry.operand is not None, "either all values of a replica are used, or none"
        if isinstance(entry.operand, Rows):
            scatter.apply_rows(entry.operation, total, entry.operand)
        else:
            reduce.apply_in_place(entry.operation, total, entry.operand, limits)
    total.setflags(write=False)
    return total


def _joined(run: Sequence[LogEntry]) -> Rows:
    """Return the rows of sparse writes in order; added rows with the same index are summed."""
    indices, values = [], []
    for entry in run:
        rows = entry.operand
        assert isinstance(rows, Rows), "the operand of a sparse write is rows"
        indices.append(rows.indices)
        negated = entry.operation is Operation.SCATTER_SUB
        values.append(np.negative(rows.values) if negated else rows.values)
    joined = Rows(np.concatenate(indices), np.concatenate(values))
    summed = len(run) > 1 and run[0].operation in _ADDITIONS
    return scatter.summed(joined) if summed else joined


def _arrays(operand: Operand | None) -> tuple[Array, ...]:
    """Return the arrays of an operand, for a message."""
    if operand is None:
        return ()
    return (operand.indices, operand.values) if isinstance(operand, Rows) else (operand,)


class DeferredWrites:
    """The logs of one replica, and the number of writes in each log when a running call started."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._logs: dict[int, Log] = {}
        self._unreported: dict[int, Log] = {}  # logs with writes since the last sent write counts
        self._running: list[int] = []  # calls, innermost last
        self._starts: dict[int, dict[int, int]] = {}  # call → variable → writes before the call

    def begin(self, call_id: int) -> None:
        """Record that a call starts. From now on, calls that ended earlier can no longer fail."""
        self._starts = {i: self._starts[i] for i in self._running}
        self._starts[call_id] = {}
        self._running.append(call_id)

    def end(self) -> None:
        """Record that the innermost call has ended on this replica. The call can still fail."""
        self._running.pop()

    def write(self, variable_id: int, operation: Operation, operand: Operand | None) -> bool:
        """Add a write in the innermost call.

        Args:
            operand: A value or rows that the caller must not change afterwards; None if the
                aggregation does not use this replica's values.
        Returns:
            Whether the program must wait for an exchange of the writes.
        """
        log = self._logs.get(variable_id)
        if log is None:
            log = self._logs[variable_id] = Log()
        if variable_id not in self._starts[self._running[-1]]:
            self._enter(variable_id, log)
        log.write(operation, operand)
        self._unreported[variable_id] = log
        return log.is_full

    def _enter(self, variable_id: int, log: Log) -> None:
        """Record the write count of a variable before the innermost call first writes it."""
        count = 0
        for call_id in self._running:
            starts = self._starts[call_id]
            if variable_id in starts:
                count = starts[variable_id]
            else:
                starts[variable_id] = log.count
        log.fold(count)

    def owes(self, variable_id: int) -> bool:
        """Return whether this replica has unexchanged writes, for which a read must wait."""
        log = self._logs.get(variable_id)
        return log is not None and bool(log.entries)

    def delta(self, variable_id: int, count: int | None = None) -> Delta:
        """Return the combined effect of the first `count` writes, or of all writes (None).

        Raises:
            ProtocolError: The coordinator requests a number of writes that it cannot know.
        """
        log = self._logs.get(variable_id)
        if count is not None and (log is None or count not in {one.count for one in log.entries}):
            raise ProtocolError(f"there is no delta of variable {variable_id} up to {count}")
        assert log is not None, "a program that waits for an exchange has written"
        count = log.count if count is None else count
        return log.delta(variable_id, count, self._allocate)

    def write_counts(self) -> list[WriteCounts]:
        """Return the write counts that the coordinator needs before a wait or the end of a call."""
        if not self._unreported:
            return []
        unreported, self._unreported = self._unreported, {}
        logs = unreported.values()
        return [
            WriteCounts(
                call_id=self._running[-1],
                variable_ids=np.array([*unreported], np.int64),
                counts=np.array([log.count for log in logs], np.int64),
                operations=np.array([log.operations for log in logs], np.int64),
                sparse=np.array([log.sparse for log in logs], np.int64),
                row_bytes=np.array([log.row_bytes for log in logs], np.int64),
            )
        ]

    def settle(self, variable_id: int, count: int) -> None:
        """Drop the first `count` writes of a variable: all replicas have exchanged them."""
        log = self._logs.get(variable_id)
        if log is not None:
            log.settle(count)

    def fail(self, call_id: int) -> None:
        """Drop the unexchanged writes of a failed call. Every replica drops the same writes."""
        for variable_id, count in self._starts.pop(call_id, {}).items():
            if variable_id in self._logs:
                self._logs[variable_id].truncate(count)
                self._unreported.pop(variable_id, None)
        if call_id in self._running:
            self._starts[call_id] = {}

    def forget(self, variable_id: int) -> None:
        """Drop a variable. No later message refers to the variable."""
        self._logs.pop(variable_id, None)
        self._unreported.pop(variable_id, None)

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for log in self._logs.values():
            at = log.settled.count
            for entry in log.entries:
                assert entry.count > at
                at = entry.count
            assert log.count == at
            assert log.size_bytes == sum(entry.size_bytes for entry in log.entries)
