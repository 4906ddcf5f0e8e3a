"""The writes to deferred variables that a replica has not exchanged yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from varsim.protocol.buckets import PACK_LIMIT_BYTES
from varsim.protocol.messages import Delta, WriteCounts
from varsim.spec import Array, Operation
from varsim.sync import reduce
from varsim.sync.update_buffers import Allocate

MAX_ENTRIES: Final = 1024
"""Limit of entries per variable. At the limit, the program waits until they are exchanged."""

MAX_LOG_BYTES: Final = 64 * 2**20
"""Limit of the total size of the values that are kept for one variable, to bound the memory."""

_NUMBERS: Final = {Operation.ASSIGN: 1, Operation.ASSIGN_ADD: 2, Operation.ASSIGN_SUB: 3}
_PRIME: Final = 2**61 - 1  # hashes of operations are smaller, so that they fit into an int64


@dataclass(frozen=True, slots=True, order=True)
class WriteCount:
    """The number and the operations of a replica's writes to a variable."""

    count: int
    operations: int  # a hash of the sequence of operations


NO_WRITES: Final = WriteCount(0, 0)
"""The write count of a variable that has not been written yet."""


@dataclass(slots=True, eq=False)  # not frozen: creating a frozen object takes twice as long
class LogEntry:
    """One write, or consecutive writes; no program reads the variable between them."""

    count: int  # number of all writes up to this entry
    operations: int  # hash of the operations of these writes
    operation: Operation
    value: Array | None  # None if the aggregation does not use this replica's values

    @property
    def size_bytes(self) -> int:
        """Return the size of the entry's value."""
        return 0 if self.value is None else self.value.nbytes


class Log:
    """The writes of one replica to one variable, in order.

    The writes of a running call stay separate entries, because another replica may read the
    variable after fewer writes.
    """

    __slots__ = ("count", "entries", "operations", "settled", "size_bytes")

    def __init__(self) -> None:
        self.settled = NO_WRITES
        self.count = 0  # number of all writes of this replica
        self.operations = 0  # hash of the operations of these writes
        self.entries: list[LogEntry] = []
        self.size_bytes = 0

    @property
    def write_count(self) -> WriteCount:
        """Return the write count after this replica's last write."""
        return WriteCount(self.count, self.operations)

    @property
    def is_full(self) -> bool:
        """Return whether the log is so large that its writes must be exchanged now."""
        return len(self.entries) >= MAX_ENTRIES or self.size_bytes >= MAX_LOG_BYTES

    def write(self, operation: Operation, value: Array | None) -> None:
        """Add a write. The caller must not change the array afterwards."""
        self.count += 1
        self.operations = (self.operations * 4 + _NUMBERS[operation]) % _PRIME
        self.entries.append(LogEntry(self.count, self.operations, operation, value))
        if value is not None:
            self.size_bytes += value.nbytes

    def fold(self, after: int) -> None:
        """Combine all entries after write number `after`. No program reads between these writes."""
        start = sum(entry.count <= after for entry in self.entries)
        if len(self.entries) - start > 1:
            operation, value = combined(self.entries[start:], np.empty)
            last = LogEntry(self.count, self.operations, operation, value)
            self._keep([*self.entries[:start], last])

    def delta(self, variable_id: int, count: int, allocate: Allocate) -> Delta:
        """Return the combined value of the first `count` writes."""
        taken = [entry for entry in self.entries if entry.count <= count]
        assert taken, "there is nothing to exchange"
        assert taken[-1].count == count, "an entry ends at every possible read"
        operation, value = combined(taken, allocate)
        return Delta(
            variable_id=variable_id,
            since=self.settled.count,
            count=count,
            operations=taken[-1].operations,
            operation=operation,
            values=() if value is None else (value,),
        )

    def settle(self, count: int) -> None:
        """Drop the first `count` writes, which are exchanged, or overwritten by the program."""
        settled = [entry for entry in self.entries if entry.count <= count]
        if settled:
            self.settled = WriteCount(settled[-1].count, settled[-1].operations)
            self._keep(self.entries[len(settled) :])

    def truncate(self, count: int) -> None:
        """Drop all writes after the first `count` writes: their call has failed."""
        self._keep([entry for entry in self.entries if entry.count <= count])

    def _keep(self, entries: list[LogEntry]) -> None:
        self.entries = entries
        last = entries[-1] if entries else self.settled
        self.count, self.operations = last.count, last.operations
        self.size_bytes = sum(entry.size_bytes for entry in entries)


def combined(entries: Sequence[LogEntry], allocate: Allocate) -> tuple[Operation, Array | None]:
    """Combine consecutive writes into one ASSIGN or ASSIGN_ADD.

    An assign replaces all earlier writes. The first value is negated if it is subtracted; adding a
    negated value gives exactly the same result. The result can be the array of an entry.
    """
    assigns = [i for i, entry in enumerate(entries) if entry.operation is Operation.ASSIGN]
    first, *others = entries[assigns[-1] :] if assigns else entries
    operation = Operation.ASSIGN if assigns else Operation.ASSIGN_ADD
    value = first.value
    negated = first.operation is Operation.ASSIGN_SUB
    if value is None or not (others or negated):
        return operation, value
    large = value.nbytes > PACK_LIMIT_BYTES
    total = allocate(value.shape, value.dtype) if large else np.empty_like(value)
    if negated:
        np.negative(value, out=total)
    else:
        np.copyto(total, value)
    limits = reduce.limits_of(total.dtype)
    for entry in others:
        assert entry.value is not None, "a replica's values are either all used, or none is"
        reduce.apply_in_place(entry.operation, total, entry.value, limits)
    total.setflags(write=False)
    return operation, total


class DeferredWrites:
    """The logs of one replica, and the number of writes in them when each running call started."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._logs: dict[int, Log] = {}
        self._untold: dict[int, Log] = {}  # logs with writes since the last write counts were sent
        self._running: list[int] = []  # calls, innermost last
        self._starts: dict[int, dict[int, int]] = {}  # call → variable → writes before the call

    def begin(self, call_id: int) -> None:
        """Record that a call starts. Calls that have ended can no longer fail."""
        self._starts = {i: self._starts[i] for i in self._running}
        self._starts[call_id] = {}
        self._running.append(call_id)

    def end(self) -> None:
        """Record that the innermost call has ended on this replica. The call can still fail."""
        self._running.pop()

    def write(self, variable_id: int, operation: Operation, value: Array | None) -> bool:
        """Add a write in the innermost call.

        Args:
            value: An array that the caller must not change afterwards; None if the aggregation does
                not use this replica's values.
        Returns:
            Whether the program must wait for an exchange of the writes.
        """
        log = self._logs.get(variable_id)
        if log is None:
            log = self._logs[variable_id] = Log()
        if variable_id not in self._starts[self._running[-1]]:
            self._enter(variable_id, log)
        log.write(operation, value)
        self._untold[variable_id] = log
        return log.is_full

    def _enter(self, variable_id: int, log: Log) -> None:
        """Record the write count of a variable before the innermost call first writes it."""
        after = 0
        for call_id in self._running:
            starts = self._starts[call_id]
            if variable_id in starts:
                after = starts[variable_id]
            else:
                starts[variable_id] = log.count
        log.fold(after)

    def owes(self, variable_id: int) -> bool:
        """Return whether this replica has unexchanged writes, for which a read must wait."""
        log = self._logs.get(variable_id)
        return log is not None and bool(log.entries)

    def delta(self, variable_id: int, count: int | None = None) -> Delta:
        """Return the combined value of the first `count` writes, or of all writes (None)."""
        log = self._logs[variable_id]
        count = log.count if count is None else count
        return log.delta(variable_id, count, self._allocate)

    def write_counts(self) -> list[WriteCounts]:
        """Return the write counts that the coordinator needs before this replica waits or ends."""
        if not self._untold:
            return []
        untold, self._untold = self._untold, {}
        return [
            WriteCounts(
                call_id=self._running[-1],
                variable_ids=np.array([*untold], np.int64),
                counts=np.array([log.count for log in untold.values()], np.int64),
                operations=np.array([log.operations for log in untold.values()], np.int64),
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
                self._untold.pop(variable_id, None)
        if call_id in self._running:
            self._starts[call_id] = {}

    def forget(self, variable_id: int) -> None:
        """Drop a variable. No later message refers to the variable."""
        self._logs.pop(variable_id, None)
        self._untold.pop(variable_id, None)

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for log in self._logs.values():
            at = log.settled.count
            for entry in log.entries:
                assert entry.count > at
                at = entry.count
            assert log.count == at
            assert log.size_bytes == sum(entry.size_bytes for entry in log.entries)
