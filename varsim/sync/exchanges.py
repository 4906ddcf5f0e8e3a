"""Exchange deferred writes when a replica or the program needs the value of a variable.

A replica that reads after k of its own writes gets the result of the first k writes of every
replica.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from varsim.errors import MismatchError, ProtocolError, VarsimError
from varsim.protocol.messages import (
    OF_DEFERRED,
    Delta,
    DeltaPart,
    DeltaReply,
    PullDeltas,
    SyncRequest,
    WriteCounts,
)
from varsim.spec import SCATTERS, Operand, Operation, Rows, VariableSpec
from varsim.sync import mismatch, reduce, scatter
from varsim.sync.actions import CoordinatorAction, Reduce, Send, Steps
from varsim.sync.call_state import CallState
from varsim.sync.coordinator_door import check_delta, check_write_counts
from varsim.sync.coordinator_variables import CoordinatorVariable, CoordinatorVariables
from varsim.sync.deferral import Deferral
from varsim.sync.deferred import NO_WRITES, WriteCount
from varsim.sync.participant import Participant, Status
from varsim.sync.waits import Request


class Exchanges:
    """Exchanges deferred writes for replicas and for the program.

    A replica sends its `WriteCounts` before it waits or ends its call. So the coordinator knows
    which writes the replica has made, and requests deltas only of these writes.
    """

    def __init__(
        self,
        variables: CoordinatorVariables,
        specs: Mapping[int, VariableSpec],
        tokens: Iterator[int],
    ) -> None:
        self._variables = variables
        self._specs = specs
        self._tokens = tokens  # for `Reduce`
        self._deferrals: dict[int, Deferral] = {}
        self._open: dict[int, Deferral] = {}  # only deferrals with watermarks
        self._starts: dict[int, dict[int, list[WriteCount]]] = {}
        """Call → variable → the write counts of all replicas before the call."""
        self._requests: dict[Request, tuple[int, int]] = {}
        """The program's request → the variable, and the number of writes to exchange."""
        self._pulled_s: dict[int, float] = {}  # replica → time of the last request for a delta
        self._next_request_id = 1

    def add(self, variable_id: int) -> None:
        """Add a variable whose writes are deferred."""
        none = [NO_WRITES] * self._variables.num_replicas
        self._deferrals[variable_id] = Deferral(none, [*none])

    def defers(self, variable_id: int) -> bool:
        """Return whether the writes of a variable are deferred."""
        return variable_id in self._deferrals

    def forget(self, variable_id: int) -> None:
        """Remove a variable that the program has dropped."""
        self._deferrals.pop(variable_id, None)
        self._open.pop(variable_id, None)

    # ------------------------------------------------------------ calls

    def begin(self, call_id: int) -> None:
        """Record that a call starts."""
        self._starts[call_id] = {}

    def tell(self, replica_id: int, write_counts: WriteCounts) -> None:
        """Record the write counts that a replica sends before it waits or ends its call.

        Raises:
            ProtocolError: The write counts are malformed, or a count decreases.
        """
        check_write_counts(write_counts)
        columns = (
            write_counts.variable_ids.tolist(),
            write_counts.counts.tolist(),
            write_counts.operations.tolist(),
            write_counts.sparse.tolist(),
            write_counts.row_bytes.tolist(),
        )
        for variable_id, *reported in zip(*columns, strict=True):
            deferral = self._deferrals.get(variable_id)
            if deferral is None:
                continue  # the program has dropped the variable
            if reported[0] < deferral.reported[replica_id].count:
                raise ProtocolError(f"a write count decreases to {reported[0]}")
            for starts in self._starts.values():
                starts.setdefault(variable_id, list(deferral.reported))
            deferral.reported[replica_id] = WriteCount(*reported)

    def end(self, call: CallState) -> MismatchError | None:
        """Record that all replicas have returned; return an error if their writes differ."""
        starts = self._starts[call.call_id]
        for variable_id, before in starts.items():
            deferral = self._deferrals.get(variable_id)
            if deferral is not None and len(set(deferral.reported)) > 1:
                return self._uneven(variable_id, deferral.reported, before, call.participants)
        for variable_id in starts:
            self._count(variable_id)
        del self._starts[call.call_id]
        return None

    def fail(self, call_id: int, error: VarsimError) -> None:
        """Drop the unexchanged writes of a failed call, and end all requests with `error`."""
        for variable_id, before in self._starts.pop(call_id, {}).items():
            deferral = self._deferrals.get(variable_id)
            if deferral is not None:
                deferral.reported = list(map(max, before, deferral.settled))
                self._count(variable_id)
        self._close(error)

    def _close(self, error: VarsimError) -> None:
        """End all exchanges and requests with `error`."""
        for deferral in self._open.values():
            deferral.close()
        self._open.clear()
        requests, self._requests = self._requests, {}
        for request in requests:
            request.end(error=error)

    def lose(self, error: VarsimError) -> None:
        """Drop all unexchanged writes, because a lost replica's writes are missing."""
        self._close(error)
        for deferral in self._deferrals.values():
            deferral.lost += deferral.unexchanged
            deferral.reported = [*deferral.settled]

    def unexchanged_writes(self, variable_id: int) -> int:
        """Return how many writes of each replica are not exchanged.

        After the loss of a replica, these writes can never be exchanged.
        """
        deferral = self._deferrals.get(variable_id)
        return 0 if deferral is None else deferral.lost + deferral.unexchanged

    def _count(self, variable_id: int) -> None:
        """Update the number of merges that ON_WRITE would have made until now."""
        deferral = self._deferrals.get(variable_id)
        if deferral is not None:
            account = self._variables.by_id[variable_id].account
            reported = deferral.reported
            account.deferred = min(write_count.count for write_count in reported)
            account.deferred_sparse = min(write_count.sparse for write_count in reported)
            account.deferred_row_bytes = sum(write_count.row_bytes for write_count in reported)

    # ------------------------------------------------------------ requests

    def request_sync(self, replica_id: int, request: SyncRequest, now_s: float) -> bool:
        """Record that the program of a replica waits for the result of its writes.

        Returns:
            Whether the replica must wait. The replica need not wait if the commit has already been
            sent.
        """
        delta = request.delta
        deferral = self._checked(replica_id, delta)
        if delta.count <= deferral.exchanged:
            return False
        deferral.want(delta.count, now_s)
        self._open[delta.variable_id] = deferral
        self._moved(delta)
        if delta.count == min(deferral.watermarks) and delta.since == deferral.exchanged:
            deferral.deltas[replica_id] = delta
        return True

    def _checked(self, replica_id: int, delta: Delta) -> Deferral:
        """Check a delta, and return what the coordinator knows of the variable's writes.

        Raises:
            ProtocolError: The delta is malformed, or has writes that the replica did not report.
        """
        deferral = self._deferrals.get(delta.variable_id)
        if deferral is None:
            raise ProtocolError(f"variable {delta.variable_id} has no deferred writes")
        check_delta(self._specs[delta.variable_id], replica_id, delta)
        if delta.count > deferral.reported[replica_id].count:
            raise ProtocolError(f"replica {replica_id} has not reported {delta.count} writes")
        return deferral

    def request(self, variable_id: int, reader: int | None, now_s: float) -> Request | None:
        """Request the current value of a variable for the program.

        Args:
            reader: The replica whose host call reads the variable. None if all replicas wait, or if
                no call runs.
        Returns:
            A request that ends with the exchange; None if all writes are already exchanged.
        Raises:
            MismatchError: The replicas have not made the same writes.
        """
        count = self.written(variable_id, reader)
        deferral = self._deferrals.get(variable_id)
        if deferral is None or count <= deferral.exchanged:
            return None
        request = Request()
        self._requests[request] = variable_id, count
        deferral.want(count, now_s)
        self._open[variable_id] = deferral
        return request

    def written(self, variable_id: int, reader: int | None) -> int:
        """Return how often the reader has written a variable.

        If there is no reader, return how often every replica has written the variable.

        Raises:
            MismatchError: There is no reader, and the replicas have not made the same writes.
        """
        deferral = self._deferrals.get(variable_id)
        if deferral is None:
            return 0
        if reader is not None:
            return deferral.reported[reader].count
        if len(set(deferral.reported)) > 1:
            raise self._uneven(variable_id, deferral.reported)
        return deferral.reported[0].count

    def ahead(self) -> set[int]:
        """Return the replicas with deferred writes that another replica has not reported yet."""
        every = [[one.count for one in each.reported] for each in self._deferrals.values()]
        return {i for counts in every for i, count in enumerate(counts) if count > min(counts)}

    def overwrite(self, variable_id: int) -> int:
        """Drop the unexchanged writes to a variable, because the program assigns a new value.

        Returns:
            How often every replica has written the variable.
        Raises:
            MismatchError: The replicas have not made the same writes to the variable.
        """
        self.written(variable_id, None)
        deferral = self._deferrals[variable_id]
        deferral.close()  # the program may have given up a read that requested an exchange
        self._open.pop(variable_id, None)
        self._requests = {one: at for one, at in self._requests.items() if at[0] != variable_id}
        deferral.settled = [*deferral.reported]
        self._count(variable_id)
        return deferral.exchanged

    def take(self, replica_id: int, reply: DeltaReply) -> None:
        """Store a delta that was requested from a replica."""
        delta = reply.delta
        deferral = self._open.get(delta.variable_id)
        if deferral is None or deferral.requested.get(replica_id) != reply.request_id:
            return  # the call has failed, or a reader with a lower watermark came later
        self._checked(replica_id, delta)
        if (delta.since, delta.count) != (deferral.exchanged, min(deferral.watermarks)):
            # A replica gets a commit before a request for later writes.
            raise ProtocolError(f"the writes {delta.since + 1} to {delta.count} were not requested")
        self._moved(delta)
        deferral.deltas[replica_id] = delta

    # ------------------------------------------------------------ exchanges

    def advance(self, call: CallState | None, now_s: float, idle: Sequence[int]) -> Steps:
        """Request missing deltas, and exchange all writes that can be exchanged now.

        Raises:
            MismatchError: The replicas have not made the same writes.
        """
        for variable_id, deferral in list(self._open.items()):
            while deferral.watermarks:
                yield from self._pull_deltas(variable_id, deferral, call, now_s)
                if len(deferral.deltas) < self._variables.num_replicas:
                    break
                yield from self._exchange(variable_id, deferral, call, now_s, idle)
            if not deferral.watermarks:
                del self._open[variable_id]

    def _pull_deltas(
        self, variable_id: int, deferral: Deferral, call: CallState | None, now_s: float
    ) -> Iterator[CoordinatorAction]:
        """Request deltas up to the lowest watermark from replicas that have made all these writes.

        A running replica gets no request. It would answer only when it waits, and at that time it
        often sends the delta without a request.
        """
        watermark = min(deferral.watermarks)
        for replica_id, write_count in enumerate(deferral.reported):
            if (
                write_count.count < watermark
                or replica_id in deferral.deltas
                or replica_id in deferral.requested
            ):
                continue
            if call is not None and call.participants[replica_id].status is Status.RUNNING:
                continue
            request_id = self._new_id()
            deferral.requested[replica_id] = request_id
            self._pulled_s[replica_id] = now_s
            self._variables.by_id[variable_id].account.exchange_moved(1, 0)
            pull = PullDeltas(request_id=request_id, variable_id=variable_id, count=watermark)
            yield Send(replica_id, pull)

    def _exchange(
        self,
        variable_id: int,
        deferral: Deferral,
        call: CallState | None,
        now_s: float,
        idle: Sequence[int],
    ) -> Steps:
        """Reduce the deltas of the lowest watermark, and commit the result."""
        count = self._variables.num_replicas
        deltas = [deferral.deltas[i] for i in range(count)]
        write_counts = [
            WriteCount(delta.count, delta.operations, delta.sparse, delta.row_bytes)
            for delta in deltas
        ]
        watermark = write_counts[0].count
        if len(set(write_counts)) > 1:
            raise self._uneven(variable_id, write_counts)
        variable = self._variables.by_id[variable_id]
        kinds = {tuple(part.operation for part in delta.parts) for delta in deltas}
        if len(kinds) > 1:
            raise ProtocolError("deltas with equal digests have parts with different operations")
        # All reductions come before the first commit, because a reduction can fail.
        changes: list[tuple[Operation, Operand]] = []
        for parts in zip(*(delta.parts for delta in deltas), strict=True):
            changes.append((yield from self._change(variable, parts, idle, is_first=not changes)))
        since_s = deferral.watermarks.pop(watermark)
        variable.account.exchanged(sum(now_s - at_s for at_s in since_s))
        before, deferral.settled = deferral.exchanged, write_counts
        deferral.deltas.clear()
        deferral.requested.clear()
        for number, (operation, operand) in enumerate(changes, 1):
            settled = watermark if number == len(changes) else before
            yield self._commit(variable, operation, operand, settled)
        if call is not None:
            call.settle(variable_id, watermark, now_s)
        for request, wanted in list(self._requests.items()):
            if wanted == (variable_id, watermark):
                del self._requests[request]
                request.end()

    def _change(
        self,
        variable: CoordinatorVariable,
        parts: Sequence[DeltaPart],
        idle: Sequence[int],
        *,
        is_first: bool,
    ) -> Generator[CoordinatorAction, Any, tuple[Operation, Operand]]:
        """Combine the same part of all replicas' deltas; return its operation and operand.

        Args:
            is_first: Whether the part is the first part of its delta. If it is the first part and
                there is a mirror, the mirror is the value before the part, and the result is an
                ASSIGN.
        """
        operation, aggregation = parts[0].operation, variable.spec.aggregation
        assert all(part.operation is operation for part in parts), (
            "deltas with equal digests have equal parts"
        )
        operands = [part.operand for part in parts if part.operand]
        if operation in SCATTERS:
            return operation, scatter.joined([Rows(*operand) for operand in operands], aggregation)
        mirror = self._variables.separate(variable).mirror() if is_first else None
        values = [value for (value,) in operands]
        reduce.require_combinable(values, aggregation)
        new = yield Reduce(next(self._tokens), values, aggregation, operation, mirror, idle)
        return operation if mirror is None else Operation.ASSIGN, new

    def _commit(
        self, variable: CoordinatorVariable, operation: Operation, operand: Operand, settled: int
    ) -> list[CoordinatorAction]:
        """Apply a change to all components; return its commits."""
        block, count = self._variables.separate(variable), self._variables.num_replicas
        if isinstance(operand, Rows):
            dense_bytes = count * block.bytes_of_one()
            variable.account.exchange_moved_rows(count, count * operand.nbytes, dense_bytes)
            return self._variables.scatter(block, operation, operand, OF_DEFERRED, settled)
        mirror = block.mirror()
        if mirror is not None and operation is not Operation.ASSIGN:
            operation, operand = Operation.ASSIGN, reduce.apply(operation, mirror, operand)
        variable.account.exchange_moved(count, count * operand.nbytes)
        block.apply(operation, operand)
        return block.commit_all(operation, operand, OF_DEFERRED, settled)

    def _moved(self, delta: Delta) -> None:
        """Count the message of a delta."""
        variable = self._variables.by_id[delta.variable_id]
        account, size_bytes = variable.account, 0
        for part in delta.parts:
            part_bytes = sum(array.nbytes for array in part.operand)
            if part.operation in SCATTERS and part.operand:
                dense_bytes = self._variables.separate(variable).bytes_of_one()
                account.exchange_moved_rows(0, part_bytes, dense_bytes)
            else:
                size_bytes += part_bytes
        account.exchange_moved(1, size_bytes)

    def _new_id(self) -> int:
        self._next_request_id += 1
        return self._next_request_id - 1

    # ------------------------------------------------------------ standstill

    @property
    def is_open(self) -> bool:
        """Return whether a replica or the program waits for an exchange."""
        return bool(self._open)

    @property
    def is_under_way(self) -> bool:
        """Return whether a requested delta has not arrived yet."""
        return any(
            deferral.requested.keys() - deferral.deltas.keys() for deferral in self._open.values()
        )

    def owing(self) -> dict[int, float]:
        """Return the replicas whose requested deltas have not arrived, with the request's time."""
        owing: dict[int, float] = {}
        for deferral in self._open.values():
            for replica_id in deferral.requested.keys() - deferral.deltas.keys():
                owing[replica_id] = self._pulled_s.get(replica_id, 0.0)
        return owing

    def standstill(self, call: CallState) -> MismatchError | None:
        """Return a mismatch if a reader waits for writes that cannot happen any more; else None."""
        if not self._open or self.is_under_way or call.doomed:
            return None
        if call.host_calls.in_service is not None and not self._requests:
            return None
        if any(participant.status is Status.RUNNING for participant in call.participants):
            return None
        variable_id, deferral = next(iter(self._open.items()))
        before = self._starts[call.call_id].get(variable_id)
        return self._uneven(variable_id, deferral.reported, before, call.participants)

    def lacking(self, request: SyncRequest) -> list[int]:
        """Return the replicas that have reported fewer writes than a waiting read needs."""
        deferral = self._deferrals.get(request.delta.variable_id)
        if deferral is None:
            return []
        count = request.delta.count
        return [i for i, one in enumerate(deferral.reported) if one.count < count]

    def _uneven(
        self,
        variable_id: int,
        write_counts: Sequence[WriteCount],
        before: Sequence[WriteCount] | None = None,
        participants: Sequence[Participant] = (),
    ) -> MismatchError:
        counts = [write_count.count for write_count in write_counts]
        rows = [write_count.sparse for write_count in write_counts]
        if before is not None:
            counts = [after - start.count for after, start in zip(counts, before, strict=True)]
            rows = [after - start.sparse for after, start in zip(rows, before, strict=True)]
        operations = [write_count.operations for write_count in write_counts]
        spec, sparse = self._specs[variable_id], any(rows)
        return mismatch.uneven(spec, counts, operations, participants, self._specs, sparse=sparse)

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for variable_id, deferral in self._deferrals.items():
            assert bool(deferral.watermarks) == (variable_id in self._open)
            assert all(write_count.count >= deferral.exchanged for write_count in deferral.reported)
            assert not deferral.watermarks or min(deferral.watermarks) > deferral.exchanged
        assert not self._requests or self._open
