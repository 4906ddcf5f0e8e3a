"""What is wrong when replicas do not meet: who did what where, and why that makes them wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final

from varsim.errors import Group, MismatchError, ValueMismatchError, name_replicas
from varsim.protocol.messages import AllGather, AllReduce, Collective, MergeCall, Point, Write
from varsim.spec import Context, VariableAggregation, VariableSpec
from varsim.sync import policies
from varsim.sync.description import (
    after_writing,
    at_meeting,
    grouped,
    in_a_word,
    in_lines,
    kind_of,
)
from varsim.sync.participant import Participant
from varsim.sync.structures import differences, form_of
from varsim.texts.cells import CELLS


class Difference(IntEnum):
    """How two replicas' parts in one meeting differ; of several ways, the least number is told."""

    DEED = 1  # another variable, operation, or kind of meeting
    NAME = 2  # the same deed under another name
    PLACE = 3  # the same deed without a name, in another line, where that is refused
    VALUE = 4  # the same deed with another shape, dtype or structure
    NOTHING = 5


def differ(
    first: Point, second: Point, specs: Mapping[int, VariableSpec], *, strict: bool = False
) -> bool:
    """Whether two replicas' parts cannot be one meeting."""
    return difference(first, second, specs, strict=strict) is not Difference.NOTHING


def difference(
    first: Point, second: Point, specs: Mapping[int, VariableSpec], *, strict: bool = False
) -> Difference:
    """How two replicas' parts differ, if they cannot be one meeting.

    Args:
        strict: Collectives without a name do not meet those of another line.
    """
    if type(first) is not type(second):
        return Difference.DEED
    if isinstance(first, Write) or isinstance(second, Write):
        assert isinstance(first, Write), "they are of one type"
        assert isinstance(second, Write), "they are of one type"
        return _difference_of_writes(first, second, specs)
    if _settings(first) != _settings(second):
        return Difference.DEED
    if first.label != second.label:
        return Difference.NAME
    if strict and are_crossed(first, second):
        return Difference.PLACE
    return Difference.NOTHING if _fit(first, second) else Difference.VALUE


def _difference_of_writes(
    first: Write, second: Write, specs: Mapping[int, VariableSpec]
) -> Difference:
    if (first.variable_id, first.operation) != (second.variable_id, second.operation):
        return Difference.DEED
    first_only = VariableAggregation.ONLY_FIRST_REPLICA  # the others' values do not count
    same = first.shape == second.shape
    if same or specs[first.variable_id].aggregation is first_only:
        return Difference.NOTHING
    return Difference.VALUE


def _settings(point: Collective) -> object:
    """What else than its values a collective is given."""
    match point:
        case AllReduce(op=op):
            return op
        case AllGather(axis=axis):
            return axis
        case MergeCall():
            return None


def _fit(first: Collective, second: Collective) -> bool:
    """Whether values can be combined."""
    if isinstance(first, MergeCall) or isinstance(second, MergeCall):
        return True
    if first.structure != second.structure:
        return False
    axis = first.axis if isinstance(first, AllGather) else None
    return all(
        one.dtype == other.dtype and _other_axes(one.shape, axis) == _other_axes(other.shape, axis)
        for one, other in zip(first.leaves, second.leaves, strict=True)
    )


def _other_axes(shape: tuple[int, ...], axis: int | None) -> tuple[int, ...]:
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]


def are_crossed(first: Collective, second: Collective) -> bool:
    """Whether order alone pairs two collectives that stand in different lines."""
    return first.label is None and second.label is None and first.location != second.location


# ---------------------------------------------------------------- all came, to different things


def unlike(
    index: int,
    participants: Sequence[Participant],
    specs: Mapping[int, VariableSpec],
    *,
    strict: bool = False,
) -> MismatchError | None:
    """The error for a meeting to which replicas came with parts that are not alike, if they did.

    It tells of all replicas, also of those that did not come.
    """
    present = _present(index, participants)
    first, *others = present.values()
    kinds = (difference(first, other, specs, strict=strict) for other in others)
    kind = min(kinds, default=Difference.NOTHING)
    if kind is Difference.NOTHING:
        return None
    groups = grouped(at_meeting(participants, index, specs))
    lines = [
        f"{_headline(kind, index)}:",
        *in_lines(groups),
        *(f"  {line}" for line in _details(kind, present)),
        f"  {_reason(_most_common(groups, present), specs)}",
        f"  {_STORIES[kind][1]}",
    ]
    error = ValueMismatchError if kind is Difference.VALUE else MismatchError
    return error("\n".join(lines)).by_groups(groups)


def in_short(kind: Difference) -> str:
    """What happened and what to do about it, whoever did what."""
    return f"{_headline(kind, 0)}. {_STORIES[kind][1]}"


def _headline(kind: Difference, index: int) -> str:
    return (
        f"replicas {_STORIES[kind][0]} at meeting point {index + 1} of this call, where all must "
        "do the same"
    )


_STORIES: Final = {
    Difference.DEED: (
        "did different things",
        "TensorFlow pairs them by call order alone and mixes their values; varsim refuses (D3). "
        "Make every replica do the same operations in the same order.",
    ),
    Difference.NAME: (
        "called collectives with different names",
        "Only collectives with the same name meet. Make every replica use the same names in the "
        "same order.",
    ),
    Difference.PLACE: (
        "called unnamed collectives in different lines",
        "Only the call order would pair them, which strict=True refuses. If they are the same "
        "operation, give it the same name= on every replica; if not, make every replica run the "
        "same lines in "
        "the same order.",
    ),
    Difference.VALUE: (
        "gave values that do not match",
        "Give a value of the same structure, shape and dtype on every replica.",
    ),
}


def _present(index: int, participants: Sequence[Participant]) -> dict[int, Point]:
    points = ((i, participant.point(index)) for i, participant in enumerate(participants))
    return {i: point for i, point in points if point is not None}


def _most_common(groups: Sequence[Group], present: Mapping[int, Point]) -> Point:
    """What most of the replicas that came did."""
    came = [group.replica_ids for group in groups if group.replica_ids[0] in present]
    return present[max(came, key=len)[0]]


def _details(kind: Difference, present: Mapping[int, Point]) -> Iterator[str]:
    """How names or values differ, where the replicas' lines do not show it."""
    if kind is Difference.NAME:
        names: dict[str, list[int]] = {}
        for i, point in present.items():
            name = None if isinstance(point, Write) else point.label
            names.setdefault("no name" if name is None else f"the name {name!r}", []).append(i)
        fewest = sorted(names.items(), key=lambda one: (len(one[1]), one[1]))
        yield " against ".join(f"{name} on {name_replicas(who)}" for name, who in fewest)
    elif kind is Difference.VALUE:
        forms = {
            i: form_of(
                point.structure, point.leaves, point.axis if isinstance(point, AllGather) else None
            )
            for i, point in present.items()
            if isinstance(point, AllReduce | AllGather)
        }
        yield from differences(forms)


def crossing(points: Sequence[Collective]) -> tuple[str, str]:
    """The warning about unnamed collectives that met in different lines, and where it points.

    Args:
        points: Of all replicas, in replica order.
    """
    places: dict[str, list[int]] = {}
    for replica_id, point in enumerate(points):
        places.setdefault(point.location, []).append(replica_id)
    fewest = sorted(places.items(), key=lambda one: (len(one[1]), one[1]))
    kind = kind_of(points[0])
    sides = [
        f"{kind} at {place or 'an unknown place'} ({name_replicas(who)})" for place, who in fewest
    ]
    what = "replica 0's function runs for all" if kind == "merge_call" else "their values are mixed"
    text = (
        f"{' meets '.join(sides)}: without a name they are paired by call order alone, and {what}"
        "\n  If they are the same operation, give it the same name= on every replica; if not, make "
        "every replica run the same lines in the same order. strict=True refuses it."
    )
    return text, fewest[0][0]


# ---------------------------------------------------------------- not all came


def absent(
    index: int, participants: Sequence[Participant], specs: Mapping[int, VariableSpec]
) -> MismatchError:
    """The error for a meeting that a replica can no longer come to."""
    groups = grouped(at_meeting(participants, index, specs))
    ended = sum(one.ended is not None and one.met <= index for one in participants)
    point = _most_common(groups, _present(index, participants))
    later = ", or use synchronization=ON_READ if the value may be combined later"
    lines = [
        f"replicas wait for {'one' if ended == 1 else 'some'} that will not come, at meeting point "
        f"{index + 1} of this call:",
        *in_lines(groups),
        f"  {_reason(point, specs)}",
        "  Let every replica reach it: move it out of code that only some replicas run"
        f"{later if isinstance(point, Write) else ''}.",
    ]
    return MismatchError("\n".join(lines)).by_groups(groups)


def standstill(
    participants: Sequence[Participant],
    specs: Mapping[int, VariableSpec],
    now_at: Mapping[int, str],
) -> list[str]:
    """What the replicas of a call do now, a line for those that do the same.

    Args:
        now_at: The lines at which replicas are now, as far as that is known.
    """
    places = (now_at.get(i, "") for i in range(len(participants)))
    said = (in_a_word(one, specs, at) for one, at in zip(participants, places, strict=True))
    return in_lines(grouped(said))


def uneven(
    spec: VariableSpec,
    counts: Sequence[int],
    operations: Sequence[int],
    participants: Sequence[Participant],
    specs: Mapping[int, VariableSpec],
) -> MismatchError:
    """The error for a deferred variable that replicas have not written alike.

    Args:
        counts: By replica, the writes in this call, as far as it is known.
        operations: By replica, a number for the sequence of operations.
        participants: Of the call; none if what they do is no matter.
    """
    alike = len(set(counts)) == 1
    what = "by different operations" if alike else "a different number of times"
    present: Sequence[Participant | None] = participants or [None] * len(counts)
    wrote = zip(present, counts, operations, strict=True)
    groups = grouped(after_writing(*one, specs) for one in wrote)
    lines = [
        f"replicas wrote {spec.name!r} {what} in this call, where all must do the same:",
        *in_lines(groups),
        f"  {spec.name!r} (synchronization=AUTO and adaptive, aggregation={spec.aggregation.name}, "
        f"created at {spec.created_at or 'an unknown place'}) needs the writes of every replica: "
        "they are combined when the variable is read.",
        "  Make every replica write it equally often, by the same operations in the same order, "
        "or use synchronization=ON_READ if each may write it independently.",
    ]
    return MismatchError("\n".join(lines)).by_groups(groups)


def _reason(point: Point, specs: Mapping[int, VariableSpec]) -> str:
    if not isinstance(point, Write):
        return "Every replica must take part in it: its result depends on all of them."
    spec = specs[point.variable_id]
    cell = policies.cell(spec, Context.REPLICA, point.operation)
    what = {
        VariableAggregation.SUM: "the sum of all replicas' values",
        VariableAggregation.MEAN: "the mean of all replicas' values",
        VariableAggregation.ONLY_FIRST_REPLICA: "replica 0's value, on all replicas at once",
    }.get(spec.aggregation, "a value")
    return (
        f"{spec.name!r} (synchronization={spec.synchronization.name}, "
        f"aggregation={spec.aggregation.name}, created at {spec.created_at or 'an unknown place'}) "
        f"makes them wait: {CELLS[cell.key].waits} {what}."
    )
