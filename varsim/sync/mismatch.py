"""The story in a mismatch error: who waits where, who never came, and why it makes them wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import assert_never

from varsim.protocol.messages import (
    AllGather,
    AllReduce,
    Ask,
    Demand,
    MergeCall,
    Point,
    Raised,
    Waiting,
    Write,
)
from varsim.spec import VariableAggregation, VariableSpec
from varsim.sync.participant import Participant


class Difference(Enum):
    """How two replicas' parts in one meeting differ."""

    NOTHING = 0
    DEED = 1  # another variable, operation, or kind of meeting
    VALUE = 2  # the same deed with another shape, dtype or structure


def differ(first: Point, second: Point, specs: Mapping[int, VariableSpec]) -> bool:
    """Whether two replicas' parts cannot be one meeting."""
    return difference(first, second, specs) is not Difference.NOTHING


def difference(first: Point, second: Point, specs: Mapping[int, VariableSpec]) -> Difference:
    """Whether two replicas' parts can be one meeting."""
    if type(first) is not type(second):
        return Difference.DEED
    match first, second:
        case Write(), Write():
            if (first.variable_id, first.operation) != (second.variable_id, second.operation):
                return Difference.DEED
            first_only = VariableAggregation.ONLY_FIRST_REPLICA  # the others' values do not count
            same = first.shape == second.shape
            if same or specs[first.variable_id].aggregation is first_only:
                return Difference.NOTHING
            return Difference.VALUE
        case AllReduce(), AllReduce():
            if first.op is not second.op:
                return Difference.DEED
            alike = first.structure == second.structure and [
                (leaf.shape, leaf.dtype) for leaf in first.leaves
            ] == [(leaf.shape, leaf.dtype) for leaf in second.leaves]
            return Difference.NOTHING if alike else Difference.VALUE
        case AllGather(), AllGather():
            if first.axis != second.axis:
                return Difference.DEED
            alike = first.structure == second.structure and [
                (_other_axes(leaf.shape, first.axis), leaf.dtype) for leaf in first.leaves
            ] == [(_other_axes(leaf.shape, first.axis), leaf.dtype) for leaf in second.leaves]
            return Difference.NOTHING if alike else Difference.VALUE
        case _:
            return Difference.NOTHING


def _other_axes(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def describe_difference(
    kind: Difference,
    index: int,
    first: tuple[int, Point],
    second: tuple[int, Point],
    specs: Mapping[int, VariableSpec],
) -> str:
    """The text of the error for two parts that are not alike."""
    if kind is Difference.VALUE:
        what, remedy = "gave values that do not match", _ONE_SHAPE
    else:
        what, remedy = "did different things", _ONE_ORDER
    lines = [
        f"replicas {what} at meeting point {index + 1} of this call, where all must do the same:",
        *(f"  replica {i}: {describe(point, specs)}" for i, point in (first, second)),
        f"  {_reason(first[1], specs)}",
        f"  {remedy}",
    ]
    return "\n".join(lines)


_ONE_SHAPE = "Give a value of one structure, shape and dtype on every replica."
_ONE_ORDER = (
    "TensorFlow pairs them by call order alone and mixes their values; varsim refuses (D3). "
    "Make every replica do the same operations in the same order."
)


def describe_absence(
    index: int,
    present: Mapping[int, Point],
    participants: Sequence[Participant],
    ended_id: int,
    specs: Mapping[int, VariableSpec],
) -> str:
    """The text of the error for a meeting that one replica can no longer come to."""
    first = next(iter(present.values()))
    ended = participants[ended_id]
    lines = [
        f"replicas wait for one that will not come, at meeting point {index + 1} of this call:"
    ]
    lines += [f"  replica {i}: {describe(point, specs)}" for i, point in present.items()]
    lines.append(
        f"  replica {ended_id}: never came; its function {_how_it_ended(ended)} after "
        f"{ended.met} meeting point{'' if ended.met == 1 else 's'}"
    )
    for i, participant in enumerate(participants):
        if i not in present and i != ended_id:
            lines.append(f"  replica {i}: did not come ({participant.status.value})")
    lines.append(f"  {_reason(first, specs)}")
    lines.append(
        "  Let every replica reach it: move it out of code that only some replicas run, or use "
        "synchronization=ON_READ if the value may be combined later."
    )
    return "\n".join(lines)


def _how_it_ended(participant: Participant) -> str:
    return "raised" if isinstance(participant.ended, Raised) else "returned"


def describe_standstill(
    participants: Sequence[Participant], specs: Mapping[int, VariableSpec]
) -> str:
    """What each replica of a call does, a line each."""
    lines = []
    for replica_id, participant in enumerate(participants):
        waits = participant.waits_for
        what = participant.status.value if waits is None else "waits in " + describe(waits, specs)
        lines.append(f"  replica {replica_id}: {what}")
    return "\n".join(lines)


def describe_uneven(
    spec: VariableSpec,
    counts: Sequence[int],
    participants: Sequence[Participant],
    specs: Mapping[int, VariableSpec],
) -> str:
    """The text of the error for a deferred variable that replicas have not written alike.

    Args:
        counts: By replica, the writes in this call, as far as it is known.
        participants: Of the call; none if what they do is no matter.
    """
    alike = len(set(counts)) == 1
    what = "by different operations" if alike else "differently often"
    lines = [f"replicas wrote {spec.name!r} {what} in this call, where all must do the same:"]
    for replica_id, count in enumerate(counts):
        now = _now(participants[replica_id], specs) if participants else ""
        lines.append(f"  replica {replica_id}: {count} write{'' if count == 1 else 's'}{now}")
    lines += [
        f"  {spec.name!r} (synchronization=AUTO and adaptive, aggregation={spec.aggregation.name}, "
        f"created at {spec.created_at or 'an unknown place'}) needs every replica's: what was "
        "written is combined when somebody reads.",
        f"  {_ONE_ORDER_ALONE}",
    ]
    return "\n".join(lines)


def _now(participant: Participant, specs: Mapping[int, VariableSpec]) -> str:
    if participant.waits_for is not None:
        return f"; it waits in {describe(participant.waits_for, specs)}"
    if participant.ended is not None:
        return f"; its function {_how_it_ended(participant)}"
    return ""


_ONE_ORDER_ALONE = (
    "Make every replica write it as often, by the same operations in the same order, or use "
    "synchronization=ON_READ if each may write as it likes."
)


def describe(point: Point | Waiting | Demand | Ask, specs: Mapping[int, VariableSpec]) -> str:
    """What a replica does at a point where it meets or waits, with the place in the program."""
    at = f" at {point.place}" if point.place else ""
    match point:
        case Write():
            spec = specs[point.variable_id]
            shape = "×".join(map(str, point.shape)) or "scalar"
            return f"{spec.name}.{point.operation.value} ({spec.dtype} {shape}){at}"
        case AllReduce():
            return f"all_reduce({point.op.name}, {_leaves(point)}){at}"
        case AllGather():
            return f"all_gather({_leaves(point)}, axis={point.axis}){at}"
        case MergeCall():
            return f"merge_call{at}"
        case Waiting():
            return f"a read of {specs[point.variable_id].name}, after its own write to it{at}"
        case Demand():
            return f"a read of {specs[point.part.variable_id].name}, after its own write to it{at}"
        case Ask():
            return f"a request to the program{at}"
        case _:
            assert_never(point)


def _leaves(point: AllReduce | AllGather) -> str:
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in point.leaves) or "nothing"


def _reason(point: Point, specs: Mapping[int, VariableSpec]) -> str:
    if not isinstance(point, Write):
        return "Every replica must take part in it: its result depends on all of them."
    spec = specs[point.variable_id]
    what = {
        VariableAggregation.SUM: "the sum of all replicas' values",
        VariableAggregation.MEAN: "the mean of all replicas' values",
        VariableAggregation.ONLY_FIRST_REPLICA: "replica 0's value, on all replicas at once",
    }.get(spec.aggregation, "a value")
    return (
        f"{spec.name!r} (synchronization=ON_WRITE, aggregation={spec.aggregation.name}, created at "
        f"{spec.created_at or 'an unknown place'}) makes them wait: a write to it in replica "
        f"context is {what}."
    )
