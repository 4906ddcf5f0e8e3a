"""Describe what each replica does as a fact with a location, and group replicas by these facts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Final, assert_never

from varsim.protocol.messages import (
    BarrierArrival,
    BoundedWrite,
    Collective,
    Combine,
    CopyRequest,
    ExplicitCollective,
    FetchPublished,
    HostCall,
    Join,
    LockRequest,
    MergeCall,
    Message,
    Publish,
    Pull,
    Push,
    Raised,
    ReceiveRequest,
    SendRequest,
    SyncRequest,
    Waiting,
    Write,
)
from varsim.protocol.parts import LEAF
from varsim.spec import Operation, VariableSpec
from varsim.sync.participant import Member, Participant, Plan, Status, Wait
from varsim.sync.structures import form_of, sizes_of
from varsim.texts.facts import Fact
from varsim.texts.mismatches import key_text
from varsim.texts.replicas import (
    CollectiveAt,
    Did,
    DidNotCome,
    Doing,
    Group,
    HasEnded,
    HostCallAt,
    Namesake,
    NeverCame,
    ReadAt,
    Runs,
    WaitsIn,
    WriteAt,
    Wrote,
    grouped,
)

HOST_CALL: Final = "host_call"

MOST_LEAVES: Final = 4
"""Number of leaves in the description of a collective: enough to recognise the collective."""


def at_collective(
    members: Sequence[Member],
    index: int,
    specs: Mapping[int, VariableSpec],
    *,
    of_group: bool = False,
) -> tuple[Group, ...]:
    """Group replicas by what they did at a collective that has not happened.

    Args:
        of_group: Whether the members are those of a process group.
    """
    collectives = [member.collective(index) for member in members]
    return grouped(
        {
            member.replica_id: (
                _came(member, specs, of_group=of_group)
                if collective is None
                else Did(describe(collective, specs))
            )
            for member, collective in zip(members, collectives, strict=True)
        },
        [None if collective is None else _form(collective) for collective in collectives],
    )


def _came(member: Member, specs: Mapping[int, VariableSpec], *, of_group: bool) -> Doing:
    """Return what a replica has done instead of arriving."""
    participant = member.participant
    if participant.ended is not None:
        how = "ended" if participant.in_script else _how_it_ended(participant)
        return NeverCame(how, member.position, of_group, participant.in_script)
    return DidNotCome(doing(participant, specs))


def doing(participant: Participant, specs: Mapping[int, VariableSpec], now_at: str = "") -> Doing:
    """Return what a replica of a call does now.

    Args:
        now_at: The line that the replica runs now; "" if it is not known.
    """
    if participant.waits_for is not None:
        return WaitsIn(describe(participant.waits_for, specs), now_at)
    return Runs(now_at) if participant.status is Status.RUNNING else HasEnded(now_at)


def last_operation(participant: Participant, specs: Mapping[int, VariableSpec]) -> Fact | str:
    """Return the operation in a replica's last message; "" if there was no message."""
    last = participant.last
    if isinstance(last, Plan):
        last = last.writes[-1]
    if isinstance(last, Write | Waiting):
        return describe(last, specs)
    if last == HOST_CALL:
        return HostCallAt(participant.last_at)
    return "" if last is None else CollectiveAt(last, (), participant.last_at)


def after_writing(
    participant: Participant | None, count: int, specs: Mapping[int, VariableSpec]
) -> Wrote:
    """Return how often a replica wrote a variable, and whether the replica has ended or waits."""
    if participant is not None and participant.ended is not None:
        return Wrote(count, _how_it_ended(participant))
    if participant is not None and participant.waits_for is not None:
        return Wrote(count, now=doing(participant, specs))
    return Wrote(count)


def _how_it_ended(participant: Participant) -> str:
    return "raised" if isinstance(participant.ended, Raised) else "returned"


def describe(activity: Collective | Wait, specs: Mapping[int, VariableSpec]) -> Fact:
    """Return a fact for the operation in which a replica waits, with the operation's location."""
    match activity:
        case Write(operation=operation, shape=shape, location=location):
            return _write(activity.variable_id, operation, shape, location, specs)
        case Combine() | MergeCall():
            return describe_collective(activity)
        case BoundedWrite(operation=operation, operand=operand, location=location):
            return _write(activity.variable_id, operation, operand.shape, location, specs)
        case Join():
            return CollectiveAt("join", (), activity.location)
        case Waiting():
            return _read(activity.variable_id, activity.location, specs)
        case SyncRequest():
            return _read(activity.delta.variable_id, activity.location, specs)
        case HostCall():
            return HostCallAt(activity.location)
        case LockRequest(lock=name, is_shared=is_shared):
            return CollectiveAt(
                "read_lock" if is_shared else "lock", (repr(name),), activity.location
            )
        case BarrierArrival(barrier=barrier, group=group):
            of_group = [f"group={[*group]}"] if group else []
            if barrier is not None and barrier.endswith("()"):  # a call, such as hvd.barrier()
                return CollectiveAt(barrier.removesuffix("()"), (*of_group,), activity.location)
            named = [] if barrier is None else [repr(barrier)]
            return CollectiveAt("barrier", (*named, *of_group), activity.location)
        case SendRequest(to=to):
            return CollectiveAt("send", (f"to={to}",), activity.location)
        case ReceiveRequest(source=source):
            return CollectiveAt("recv", (str(source),), activity.location)
        case _:
            assert_never(activity)


def _write(
    variable_id: int,
    operation: Operation,
    shape: tuple[int, ...],
    location: str,
    specs: Mapping[int, VariableSpec],
) -> WriteAt:
    spec = specs[variable_id]
    return WriteAt(spec.name, operation, spec.dtype, shape, location, namesake(spec, specs))


def _read(variable_id: int, location: str, specs: Mapping[int, VariableSpec]) -> ReadAt:
    spec = specs[variable_id]
    return ReadAt(spec.name, location, namesake(spec, specs))


def namesake(spec: VariableSpec, specs: Mapping[int, VariableSpec]) -> Namesake | None:
    """Return which of the variables with its name a variable is; None if there is only one."""
    alike = sorted(i for i, other in specs.items() if other.name == spec.name)
    if len(alike) < 2:
        return None
    return Namesake(alike.index(spec.variable_id) + 1, len(alike), spec.created_at)


def describe_collective(collective: ExplicitCollective) -> CollectiveAt:
    """Return a collective as the program calls it, with dtypes and shapes instead of values."""
    arguments: list[str] = []
    if isinstance(collective, Combine):
        given = collective.how.arguments()
        first = 0 if collective.how.op is None else 1
        arguments += [*given[:first], *_leaves(collective), *given[first:]]
        if collective.weight is not None:
            arguments.append("weight=…")  # replicas with different weights do the same
    if collective.label is not None:
        arguments.append(f"name={collective.label!r}")
    return CollectiveAt(name_of(collective), tuple(arguments), collective.location)


def name_of(operation: Message) -> str:
    """Return the name of the operation of a message, as the program calls it."""
    if isinstance(operation, Combine | MergeCall) and operation.performs:
        return operation.performs
    if isinstance(operation, Combine):
        return operation.how.method
    if isinstance(operation, BoundedWrite):
        return f"v.{operation.operation.value}"
    return _NAMES[type(operation)]


_NAMES: Final[Mapping[type, str]] = {
    MergeCall: "merge_call",
    Join: "join",
    SyncRequest: "a read",
    CopyRequest: "a read",
    HostCall: HOST_CALL,
    LockRequest: "lock",
    BarrierArrival: "barrier",
    SendRequest: "send",
    ReceiveRequest: "recv",
    Publish: "v.publish",
    Push: "v.push",
    FetchPublished: "v.fetch",
    Pull: "v.pull",
}


def _leaves(collective: Combine) -> Iterator[str]:
    paths = [path for path, kind in collective.structure if kind == LEAF]
    if not paths:
        yield "nothing"
    for path, leaf in zip(paths[:MOST_LEAVES], collective.leaves, strict=False):
        key = f"{key_text(path)}: " if path else ""
        yield f"{key}{leaf.dtype}[{', '.join(sizes_of(leaf.shape, collective.how))}]"
    if len(paths) > MOST_LEAVES:
        yield f"… {len(paths) - MOST_LEAVES} more"


def _form(collective: Collective) -> Hashable:
    """Return the properties of a collective's values that must be equal on all replicas."""
    if isinstance(collective, Combine):
        return form_of(collective.structure, collective.leaves, collective.how)
    return None
