"""Describes what replicas do, with the place in the program, and groups them by it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, assert_never

from varsim.errors import Group
from varsim.protocol.messages import (
    AllGather,
    AllReduce,
    Collective,
    HostCall,
    MergeCall,
    Point,
    Raised,
    SyncRequest,
    Waiting,
    Write,
)
from varsim.protocol.parts import LEAF
from varsim.spec import VariableSpec
from varsim.sync.participant import Participant, Status
from varsim.sync.structures import form_of, key_in_words

MOST_LEAVES: Final = 4
"""How many leaves of a collective are described: the first ones are enough to recognise it."""

MOST_GROUPS: Final = 12
"""How many groups of replicas an error lists: more would not be readable."""


class Said(NamedTuple):
    """What one replica does, in the words for one replica and for several."""

    of_one: str
    of_several: str
    more: Hashable = None  # further differences, which the words do not show


def grouped(said: Iterable[Said]) -> tuple[Group, ...]:
    """Group replicas by what is said about them, the smallest group first.

    Args:
        said: Of each replica, in replica order.
    """
    who: dict[Said, list[int]] = {}
    for replica_id, one in enumerate(said):
        who.setdefault(one, []).append(replica_id)
    groups = [
        Group(tuple(ids), one.of_one if len(ids) == 1 else one.of_several)
        for one, ids in who.items()
    ]
    return tuple(sorted(groups, key=lambda group: (len(group.replica_ids), group.replica_ids)))


def in_lines(groups: Sequence[Group]) -> list[str]:
    """A line for each group; if there are too many, for the first ones and the largest."""
    more = len(groups) - MOST_GROUPS
    if more <= 0:
        return [f"  {group}" for group in groups]
    first, last = groups[: MOST_GROUPS - 1], groups[-1]
    return [*(f"  {group}" for group in first), f"  … and {more} groups more", f"  {last}"]


def at_meeting(
    participants: Sequence[Participant], index: int, specs: Mapping[int, VariableSpec]
) -> Iterator[Said]:
    """What each replica did at a meeting point that has not happened, or why it did not come."""
    for participant in participants:
        point = participant.point(index)
        if point is not None:
            text = describe(point, specs)
            yield Said(text, text, _form(point))
        elif participant.ended is not None:
            points = f"{participant.met} meeting point{'' if participant.met == 1 else 's'}"
            how = _how_it_ended(participant)
            yield Said(
                f"never came; its function {how} after {points}",
                f"never came; their functions {how} after {points}",
            )
        else:
            now = in_a_word(participant, specs)
            yield Said(f"did not come ({now.of_one})", f"did not come ({now.of_several})")


def in_a_word(
    participant: Participant, specs: Mapping[int, VariableSpec], now_at: str = ""
) -> Said:
    """What a replica of a call does now.

    Args:
        now_at: The line at which it is, if that is known.
    """
    now = f", now at {now_at}" if now_at else ""
    if participant.waits_for is not None:
        what = describe(participant.waits_for, specs)
        return Said(f"waits in {what}{now}", f"wait in {what}{now}")
    if participant.status is Status.RUNNING:
        return Said(f"runs{now}", f"run{now}")
    return Said(f"has ended{now}", f"have ended{now}")


def after_writing(
    participant: Participant | None,
    count: int,
    operations: int,
    specs: Mapping[int, VariableSpec],
) -> Said:
    """How often a replica wrote a variable, and what it does now if that matters.

    Args:
        operations: A number for their sequence; those who wrote by others are another group.
    """
    one = f"{count} write{'' if count == 1 else 's'}"
    several = f"{one} each"
    if participant is not None and participant.ended is not None:
        how = _how_it_ended(participant)
        one, several = f"{one}; its function {how}", f"{several}; their functions {how}"
    elif participant is not None and participant.waits_for is not None:
        now = in_a_word(participant, specs)
        one, several = f"{one}; it {now.of_one}", f"{several}; they {now.of_several}"
    return Said(one, several, operations)


def _how_it_ended(participant: Participant) -> str:
    return "raised" if isinstance(participant.ended, Raised) else "returned"


def describe(
    point: Point | Waiting | SyncRequest | HostCall, specs: Mapping[int, VariableSpec]
) -> str:
    """What a replica does at a point where it meets or waits, with the place in the program."""
    at = f" at {point.location}" if point.location else ""
    match point:
        case Write():
            spec = specs[point.variable_id]
            shape = "×".join(map(str, point.shape)) or "scalar"
            return f"{spec.name}.{point.operation.value} ({spec.dtype} {shape}){at}"
        case AllReduce() | AllGather() | MergeCall():
            return f"{_call(point)}{at}"
        case Waiting():
            return f"a read of {specs[point.variable_id].name}, after its own write to it{at}"
        case SyncRequest():
            return f"a read of {specs[point.delta.variable_id].name}, after its own write to it{at}"
        case HostCall():
            return f"a request to the program{at}"
        case _:
            assert_never(point)


def kind_of(point: Collective) -> str:
    """The name of the operation."""
    match point:
        case AllReduce():
            return "all_reduce"
        case AllGather():
            return "all_gather"
        case MergeCall():
            return "merge_call"


def _call(point: Collective) -> str:
    """A collective as a program calls it, with forms in place of values."""
    arguments: list[str] = []
    if isinstance(point, AllReduce):
        arguments += [point.op.name, *_leaves(point)]
    elif isinstance(point, AllGather):
        arguments += [*_leaves(point), f"axis={point.axis}"]
    if point.label is not None:
        arguments.append(f"name={point.label!r}")
    return f"{kind_of(point)}({', '.join(arguments)})" if arguments else kind_of(point)


def _leaves(point: AllReduce | AllGather) -> Iterator[str]:
    axis = point.axis if isinstance(point, AllGather) else None
    paths = [path for path, kind in point.structure if kind == LEAF]
    if not paths:
        yield "nothing"
    for path, leaf in zip(paths[:MOST_LEAVES], point.leaves, strict=False):
        key = f"{key_in_words(path)}: " if path else ""
        sizes = ["any" if place == axis else str(size) for place, size in enumerate(leaf.shape)]
        yield f"{key}{leaf.dtype}[{', '.join(sizes)}]"
    if len(paths) > MOST_LEAVES:
        yield f"… {len(paths) - MOST_LEAVES} more"


def _form(point: Point) -> Hashable:
    """What must be the same about the values of a collective on all replicas."""
    match point:
        case AllReduce():
            return form_of(point.structure, point.leaves, None)
        case AllGather():
            return form_of(point.structure, point.leaves, point.axis)
        case _:
            return None
