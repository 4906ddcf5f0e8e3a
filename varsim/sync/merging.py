"""Merge contributions: combine the values of all replicas, and commit the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from varsim.errors import ProtocolError, ShapeError
from varsim.protocol.buckets import unpack
from varsim.protocol.messages import CompressedContribution, Contribution, Scatter, Write
from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import exchange, policies, reduce, scatter
from varsim.sync.actions import CoordinatorAction, Obtain, Reduce, Steps
from varsim.sync.components import check_shape
from varsim.sync.compression import Compressor, FlatForm
from varsim.sync.coordinator_variables import CoordinatorVariables
from varsim.sync.one_sided import OneSided
from varsim.sync.participant import Arrangement, Arrival, Collectives


class Merging:
    """Merges the contributions of all replicas."""

    def __init__(
        self, variables: CoordinatorVariables, one_sided: OneSided, tokens: Iterator[int]
    ) -> None:
        self._variables = variables
        self._one_sided = one_sided
        self._tokens = tokens  # for `Reduce`

    def merge(
        self, call_id: int, collectives: Collectives, now_s: float, idle: Sequence[int]
    ) -> Steps:
        """Merge and commit writes to which all replicas of the call have contributed.

        Raises:
            VariableError: The values of a write cannot be merged. Earlier writes are committed.
        """
        arrangement = collectives.arrangement
        if arrangement is not None and self._fits(arrangement):
            yield from self._merge_buckets(call_id, collectives, arrangement, now_s, idle)
        else:
            yield from self._merge_each(call_id, collectives, now_s, idle)

    def _merge_each(
        self, call_id: int, collectives: Collectives, now_s: float, idle: Sequence[int]
    ) -> Steps:
        """Merge the writes one by one. This works for all contributions."""
        values_of = [_values_of(arrival) for arrival in collectives.arrivals]
        for position in range(collectives.start, collectives.stop):
            write = _write(collectives.arrivals[0], position)
            values = [
                own[position - arrival.start]
                for own, arrival in zip(values_of, collectives.arrivals, strict=True)
            ]
            if self._variables.by_id[write.variable_id].account.first_only:
                del values[1:]
            yield from self._merge_alone(
                call_id, collectives, write, values, now_s, idle, position + 1
            )

    def _fits(self, arrangement: Arrangement) -> bool:
        """Return whether every bucket can be merged as one array."""
        return all(
            len(bucket.positions) == 1 or self._variables.unite(bucket.variable_ids) is not None
            for bucket in arrangement.buckets
        )

    def _merge_buckets(
        self,
        call_id: int,
        collectives: Collectives,
        arrangement: Arrangement,
        now_s: float,
        idle: Sequence[int],
    ) -> Steps:
        last = len(arrangement.buckets) - 1
        for index, bucket in enumerate(arrangement.buckets):
            settled = collectives.stop if index == last else collectives.start
            arrivals = collectives.arrivals[:1] if bucket.first_only else collectives.arrivals
            values = [_buckets_of(arrival)[index] for arrival in arrivals]
            if len(bucket.positions) == 1:
                write = _write(collectives.arrivals[0], collectives.start + bucket.positions[0])
                yield from self._merge_alone(
                    call_id, collectives, write, values, now_s, idle, settled
                )
                continue
            block = self._variables.unite(bucket.variable_ids)
            assert block is not None, "earlier buckets do not change this block"
            reduce.require_combinable(values, bucket.aggregation)
            new = yield Reduce(
                next(self._tokens), values, bucket.aggregation, bucket.operation, block.values, idle
            )
            block.merged([arrival.at_s for arrival in collectives.arrivals], now_s)
            block.apply(Operation.ASSIGN, new)
            yield block.commit_all(Operation.ASSIGN, new, call_id, settled)

    def _merge_alone(
        self,
        call_id: int,
        collectives: Collectives,
        write: Write,
        values: Sequence[Array],
        now_s: float,
        idle: Sequence[int],
        settled: int,
    ) -> Steps:
        variable = self._variables.by_id[write.variable_id]
        block = self._variables.separate(variable)
        spec, mirror, operation = variable.spec, block.mirror(), write.operation
        reduce.require_one_shape(values)
        if variable.exchange is not None:
            values = yield Obtain(next(self._tokens), values)
            found = exchange.computed(
                variable.exchange, spec, values, self._one_sided.copy(write.variable_id)
            )
            waited_s = block.wait([arrival.at_s for arrival in collectives.arrivals], now_s)
            count = block.num_replicas
            variable.account.merged(1, count, count, values[0].nbytes, waited_s)
            if found.copy is not None:
                self._one_sided.replace(write.variable_id, found.copy, now_s)
            yield block.exchange(found.components, call_id, settled)
            return
        if mirror is not None:
            check_shape(spec, operation, mirror.shape, values[0])
        reduce.require_numbers(values, spec.aggregation)
        new = yield Reduce(next(self._tokens), values, spec.aggregation, operation, mirror, idle)
        waited_s = block.wait([arrival.at_s for arrival in collectives.arrivals], now_s)
        arrived = len(collectives.arrivals)
        variable.account.merged(1, arrived, block.num_replicas, new.nbytes, waited_s)
        if mirror is not None:
            operation = Operation.ASSIGN
        block.apply(operation, new)
        yield block.commit_all(operation, new, call_id, settled)

    def compressed(
        self, call_id: int, collectives: Collectives, first: CompressedContribution, now_s: float
    ) -> Steps:
        """Merge and commit a write of which the replicas have sent compressed values.

        Raises:
            VariableError: The values cannot be merged. Nothing has changed.
        """
        variable = self._variables.by_id[first.write.variable_id]
        block = self._variables.separate(variable)
        spec, operation = variable.spec, first.write.operation
        cell = policies.cell(spec, Context.REPLICA, operation)
        assert cell.compressor is not None, "checked by the door"
        arrived = (arrival.message for arrival in collectives.arrivals)
        messages = [one for one in arrived if isinstance(one, CompressedContribution)]
        values = [_restored(spec, cell.compressor, one) for one in messages]
        before = block.mirror()
        if cell.since_exchange and not all(one.is_whole for one in messages):
            before, operation = variable.agreed, Operation.ASSIGN_ADD
            if before is None:
                raise ProtocolError(f"variable {spec.name!r} changes since no exchange")
            both = zip(messages, values, strict=True)
            values = [
                reduce.apply(Operation.ASSIGN_SUB, value, before) if one.is_whole else value
                for one, value in both
            ]
        # The values are not in shared memory, so no worker can help.
        new = yield Reduce(next(self._tokens), values, spec.aggregation, operation, before, ())
        waited_s = block.wait([arrival.at_s for arrival in collectives.arrivals], now_s)
        variable.account.merged_compressed(messages, block.num_replicas, new.nbytes, waited_s)
        if before is not None:
            operation = Operation.ASSIGN
        block.apply(operation, new)
        if cell.since_exchange:
            variable.agreed = new
        yield block.commit_all(operation, new, call_id, collectives.stop)

    def scatter(
        self, call_id: int, collectives: Collectives, first: Scatter, now_s: float
    ) -> list[CoordinatorAction]:
        """Merge and commit a sparse write. The merged rows are the rows of all replicas in order.

        Raises:
            VariableError: The rows do not match the variable. Nothing has changed.
        """
        variable = self._variables.by_id[first.write.variable_id]
        block = self._variables.separate(variable)
        spec, mirror, operation = variable.spec, block.mirror(), first.write.operation
        messages = (arrival.message for arrival in collectives.arrivals)
        parts = [message.rows for message in messages if isinstance(message, Scatter)]
        cell = policies.cell(spec, Context.REPLICA, operation)
        rows = scatter.joined(parts, cell.joins_by(spec.aggregation))
        if mirror is not None:
            scatter.check_rows(spec, operation, mirror.shape, rows)
        elif None in spec.shape:
            raise ShapeError(
                spec.name,
                f"{operation.value} is not possible, because the components may differ in shape",
                "Assign one value to all components first.",
            )
        waited_s = block.wait([arrival.at_s for arrival in collectives.arrivals], now_s)
        sent = sum(part.nbytes for part in parts)
        variable.account.merged_rows(
            len(parts), block.num_replicas, sent, rows.nbytes, block.bytes_of_one(), waited_s
        )
        return self._variables.scatter(block, operation, rows, call_id, collectives.stop)


def _restored(spec: VariableSpec, compressor: Compressor, message: CompressedContribution) -> Array:
    """Return the value that a compressed contribution describes."""
    shape, parts = message.write.shape, message.parts
    if message.is_whole:
        return parts[0].reshape(shape)
    return compressor.unpack(parts, FlatForm(math.prod(shape), spec.dtype)).reshape(shape)


def _write(arrival: Arrival, position: int) -> Write:
    collective = arrival.at(position)
    assert isinstance(collective, Write)
    return collective


def _buckets_of(arrival: Arrival) -> tuple[Array, ...]:
    assert isinstance(arrival.message, Contribution)
    return arrival.message.buckets


def _values_of(arrival: Arrival) -> list[Array]:
    assert arrival.plan is not None, "a contribution has a plan"
    return unpack(arrival.plan.writes, arrival.plan.arrangement.buckets, _buckets_of(arrival))
