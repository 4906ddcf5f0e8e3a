"""The merges of contributions: what all replicas wrote becomes one value, and is committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from varsim.protocol.buckets import unpack
from varsim.protocol.messages import Contribution, Write
from varsim.spec import Array, Operation
from varsim.sync import reduce
from varsim.sync.actions import Reduce, Steps
from varsim.sync.components import check_shape
from varsim.sync.participant import Arrangement, Met, Part
from varsim.sync.tracked import Variables


class Merging:
    """Merges what replicas have met over."""

    def __init__(self, variables: Variables, tokens: Iterator[int]) -> None:
        self._variables = variables
        self._tokens = tokens  # for `Reduce`

    def merge(self, call_id: int, met: Met, now_s: float, idle: Sequence[int]) -> Steps:
        """All replicas have contributed to some writes: agree on their values, and commit them.

        Raises:
            VariableError: A value does not fit; what comes before it has happened.
        """
        arrangement = met.arrangement
        if arrangement is not None and self._fits(arrangement):
            yield from self._merge_buckets(call_id, met, arrangement, now_s, idle)
        else:
            yield from self._merge_each(call_id, met, now_s, idle)

    def _merge_each(self, call_id: int, met: Met, now_s: float, idle: Sequence[int]) -> Steps:
        """One write after the other, however the replicas' outboxes lie around them."""
        values_of = [_values_of(part) for part in met.parts]
        for index in range(met.index, met.stop):
            write = _write(met.parts[0], index)
            values = [
                own[index - part.index] for own, part in zip(values_of, met.parts, strict=True)
            ]
            if self._variables.peek(write.variable_id).account.first_only:
                del values[1:]
            yield from self._merge_alone(call_id, met, write, values, now_s, idle, index + 1)

    def _fits(self, arrangement: Arrangement) -> bool:
        """Whether every bucket can be merged as one."""
        return all(
            len(bucket.positions) == 1 or self._variables.block(bucket.variable_ids) is not None
            for bucket in arrangement.buckets
        )

    def _merge_buckets(
        self,
        call_id: int,
        met: Met,
        arrangement: Arrangement,
        now_s: float,
        idle: Sequence[int],
    ) -> Steps:
        last = len(arrangement.buckets) - 1
        for place, bucket in enumerate(arrangement.buckets):
            settled = met.stop if place == last else met.index
            parts = met.parts[:1] if bucket.first_only else met.parts
            values = [_buckets_of(part)[place] for part in parts]
            if len(bucket.positions) == 1:
                write = _write(met.parts[0], met.index + bucket.positions[0])
                yield from self._merge_alone(call_id, met, write, values, now_s, idle, settled)
                continue
            block = self._variables.block(bucket.variable_ids)
            assert block is not None, "a write before it has changed nothing of that"
            reduce.require_combinable(values, bucket.aggregation)
            new = yield Reduce(
                next(self._tokens), values, bucket.aggregation, bucket.operation, block.values, idle
            )
            block.wait([part.at_s for part in met.parts], now_s)
            yield self._variables.commit_block(block, new, call_id, settled)

    def _merge_alone(
        self,
        call_id: int,
        met: Met,
        write: Write,
        values: Sequence[Array],
        now_s: float,
        idle: Sequence[int],
        settled: int,
    ) -> Steps:
        tracked = self._variables.alone(write.variable_id)
        spec, mirror, operation = tracked.spec, tracked.mirror, write.operation
        reduce.require_one_shape(values)
        if mirror is not None:
            check_shape(spec, operation, mirror, values[0])
        reduce.require_numbers(values, spec.aggregation)
        new = yield Reduce(next(self._tokens), values, spec.aggregation, operation, mirror, idle)
        waited_s = _waited_s(met, tracked.waited_until_s, now_s)
        tracked.account.merged(1, len(met.parts), new.nbytes, waited_s)
        if mirror is not None:
            operation = Operation.ASSIGN
        tracked.apply(operation, new)
        yield self._variables.commit_all(tracked, operation, new, call_id, settled)


def _write(part: Part, index: int) -> Write:
    point = part.at(index)
    assert isinstance(point, Write)
    return point


def _buckets_of(part: Part) -> tuple[Array, ...]:
    assert isinstance(part.meeting, Contribution)
    return part.meeting.buckets


def _values_of(part: Part) -> list[Array]:
    assert part.plan is not None, "a contribution has a plan"
    return unpack(part.plan.writes, part.plan.arrangement.buckets, _buckets_of(part))


def _waited_s(met: Met, waited_until_s: list[float], now_s: float) -> float:
    """How long all replicas together waited for this merge, and not for an earlier one too."""
    waited_s = 0.0
    for replica_id, part in enumerate(met.parts):
        waited_s += now_s - max(part.at_s, waited_until_s[replica_id])
        waited_until_s[replica_id] = now_s
    return waited_s
