"""Compare arrivals at a collective, and create the errors and warnings about mismatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from varsim.errors import MismatchError, ValueMismatchError
from varsim.protocol.messages import (
    Collective,
    Combine,
    ExplicitCollective,
    Join,
    MergeCall,
    Write,
)
from varsim.spec import Context, VariableAggregation, VariableSpec
from varsim.sync import combining, policies
from varsim.sync.description import (
    after_writing,
    at_collective,
    describe,
    describe_collective,
    name_of,
)
from varsim.sync.participant import Member, Participant
from varsim.sync.structures import differences, fewest_first, form_of, sizes_of
from varsim.texts.facts import Fact
from varsim.texts.mismatches import (
    Absent,
    Crossing,
    Mismatch,
    NeedsAll,
    NeedsJoined,
    Sides,
    Uneven,
    Unlike,
)
from varsim.texts.replicas import Did, Group, grouped


def differ(
    first: Collective,
    second: Collective,
    specs: Mapping[int, VariableSpec],
    *,
    strict: bool = False,
) -> bool:
    """Return whether two replicas' arrivals cannot be combined."""
    return difference(first, second, specs, strict=strict) is not Mismatch.NOTHING


def difference(
    first: Collective,
    second: Collective,
    specs: Mapping[int, VariableSpec],
    *,
    strict: bool = False,
) -> Mismatch:
    """Return how two replicas' arrivals differ; `NOTHING` if they can be combined.

    A replica that has joined takes no part, so it agrees with every arrival.

    Args:
        strict: Whether collectives without a name must be in the same line.
    """
    if type(first) is not type(second):
        return Mismatch.NOTHING if Join in {type(first), type(second)} else Mismatch.OPERATION
    if isinstance(first, Write) or isinstance(second, Write):
        assert isinstance(first, Write), "both have the same type"
        assert isinstance(second, Write), "both have the same type"
        return _difference_of_writes(first, second, specs)
    if isinstance(first, Join) or isinstance(second, Join):
        return Mismatch.NOTHING
    if first.performs != second.performs:
        return Mismatch.OPERATION
    if isinstance(first, Combine) and isinstance(second, Combine):
        if first.how.kind is not second.how.kind:
            return Mismatch.OPERATION
        if first.how != second.how or (first.weight is None) != (second.weight is None):
            return Mismatch.ARGUMENTS
    if first.label != second.label:
        return Mismatch.NAME
    if strict and are_crossed(first, second):
        return Mismatch.LOCATION
    return Mismatch.NOTHING if _fit(first, second) else Mismatch.VALUE


def _difference_of_writes(
    first: Write, second: Write, specs: Mapping[int, VariableSpec]
) -> Mismatch:
    if (first.variable_id, first.operation) != (second.variable_id, second.operation):
        return Mismatch.OPERATION
    first_only = VariableAggregation.ONLY_FIRST_REPLICA  # other replicas' values are not used
    same = first.shape == second.shape
    if same or specs[first.variable_id].aggregation is first_only:
        return Mismatch.NOTHING
    return Mismatch.VALUE


def _fit(first: ExplicitCollective, second: ExplicitCollective) -> bool:
    """Return whether the values of two collectives can be combined."""
    if isinstance(first, MergeCall) or isinstance(second, MergeCall):
        return True
    if first.structure != second.structure:
        return False
    how = first.how
    return all(
        one.dtype == other.dtype
        and (one.shape == other.shape or sizes_of(one.shape, how) == sizes_of(other.shape, how))
        for one, other in zip(first.leaves, second.leaves, strict=True)
    )


def are_crossed(first: ExplicitCollective, second: ExplicitCollective) -> bool:
    """Return whether two collectives are in different lines and have no names.

    An operation of cross-replica context is its own name.
    """
    named = first.label is not None or second.label is not None or first.performs
    return not named and first.location != second.location


# ---------------------------------------------------------------- errors and warnings


def unlike(
    index: int,
    members: Sequence[Member],
    specs: Mapping[int, VariableSpec],
    group: tuple[int, ...] = (),
    *,
    strict: bool = False,
) -> MismatchError | None:
    """Return the error for arrivals that cannot be combined; None if they can be combined.

    The error names all members of the pairing, including those that did not arrive.

    Args:
        group: The process group of the pairing; () for all replicas.
    """
    present = _present(index, members)
    first, *others = sorted(present.values(), key=_has_joined)
    kinds = (difference(first, other, specs, strict=strict) for other in others)
    kind = min(kinds, default=Mismatch.NOTHING)
    if kind is Mismatch.NOTHING:
        return None
    groups = at_collective(members, index, specs, of_group=bool(group))
    reason = _reason(_most_common(groups, present), specs, group)
    error = ValueMismatchError if kind is Mismatch.VALUE else MismatchError
    details = tuple(_details(kind, present))
    if not reason.of_workers and any(_is_of_workers(one) for one in present.values()):
        details += (NeedsAll(of_workers=True),)  # the remedy for an operation of only one worker
    in_script = members[0].participant.in_script
    fact = Unlike(kind, index, groups, details, reason, group, in_script)
    return error(fact).by_groups(groups)


def _is_of_workers(collective: Collective) -> bool:
    """Return whether the programs of all workers must perform an operation together."""
    return isinstance(collective, ExplicitCollective) and bool(collective.performs)


def _has_joined(collective: Collective) -> bool:
    return isinstance(collective, Join)


def _present(index: int, members: Sequence[Member]) -> dict[int, Collective]:
    collectives = ((member.replica_id, member.collective(index)) for member in members)
    return {i: collective for i, collective in collectives if collective is not None}


def _most_common(groups: Sequence[Group], present: Mapping[int, Collective]) -> Collective:
    """Return the most common arrival; a join only if all arrivals are joins."""
    came = [group.replica_ids for group in groups if group.replica_ids[0] in present]
    return present[max(came, key=lambda ids: (not _has_joined(present[ids[0]]), len(ids)))[0]]


def _details(kind: Mismatch, present: Mapping[int, Collective]) -> Iterator[Fact]:
    """Yield the differences of names or values; the error shows them last."""
    if kind is Mismatch.NAME:
        names: dict[str, list[int]] = {}
        for i, collective in present.items():
            if isinstance(collective, Join):
                continue
            name = None if isinstance(collective, Write) else collective.label
            names.setdefault("no name" if name is None else f"the name {name!r}", []).append(i)
        yield Sides(fewest_first(names))
    elif kind is Mismatch.VALUE:
        forms = {
            i: form_of(collective.structure, collective.leaves, collective.how)
            for i, collective in present.items()
            if isinstance(collective, Combine)
        }
        yield from differences(forms)


def crossing(collectives: Mapping[int, ExplicitCollective]) -> tuple[str, str]:
    """Return the warning about unnamed collectives in different lines, and its location.

    Args:
        collectives: A mapping: replica_id → its collective.
    """
    lines: dict[str, list[int]] = {}
    for replica_id, collective in collectives.items():
        lines.setdefault(collective.location, []).append(replica_id)
    sides = tuple((describe_collective(collectives[who[0]]), who) for _, who in fewest_first(lines))
    return str(Crossing(sides)), sides[0][0].location


def absent(
    index: int,
    members: Sequence[Member],
    specs: Mapping[int, VariableSpec],
    group: tuple[int, ...] = (),
) -> MismatchError:
    """Return the error for a collective at which a member can no longer arrive."""
    groups = at_collective(members, index, specs, of_group=bool(group))
    ended = sum(one.participant.ended is not None and one.position <= index for one in members)
    collective = _most_common(groups, _present(index, members))
    write = collective.operation if isinstance(collective, Write) else None
    reason, in_script = _reason(collective, specs, group), members[0].participant.in_script
    may_join = (
        isinstance(collective, Combine)
        and not collective.performs
        and not group
        and combining.accepts_joined(collective.how)
    )
    fact = Absent(index, ended, groups, reason, write, group, in_script, may_join)
    return MismatchError(fact).by_groups(groups)


def needs_joined(
    index: int,
    came: Mapping[int, Collective],
    joined: Mapping[int, Join],
    specs: Mapping[int, VariableSpec],
    *,
    in_script: bool,
) -> MismatchError:
    """Return the error for a collective that needs the values of replicas that have joined.

    Args:
        came: A mapping: replica_id → its arrival.
        in_script: Whether the function of the call is a whole script.
    """
    groups = grouped(
        {i: Did(describe(one, specs)) for i, one in sorted({**came, **joined}.items())}
    )
    first = next(iter(came.values()))
    if isinstance(first, Write):
        operation = f"{specs[first.variable_id].name}.{first.operation.value}"
    else:
        op = first.how.op if isinstance(first, Combine) else None
        operation = name_of(first) + ("" if op is None else f"({op.value})")
    fact = NeedsJoined(operation, index, groups, tuple(joined), in_script)
    return MismatchError(fact).by_groups(groups)


def uneven(
    spec: VariableSpec,
    counts: Sequence[int],
    operations: Sequence[int],
    participants: Sequence[Participant],
    specs: Mapping[int, VariableSpec],
    *,
    sparse: bool,
) -> MismatchError:
    """Return the error about replicas that have made different writes to a deferred variable.

    Args:
        counts: Each replica's number of writes in the call. If no call runs, each replica's number
            of writes since the variable's creation.
        operations: A hash of each replica's sequence of operations.
        participants: The participants of the call; empty if no call runs. If there are fewer than
            counts, the last replicas take no part in the call.
        sparse: Whether a replica has written rows.
    """
    everyone = (*participants, *[None] * (len(counts) - len(participants)))
    wrote = (after_writing(*one, specs) for one in zip(everyone, counts, strict=True))
    groups = grouped(wrote, operations)
    return MismatchError(Uneven(spec, len(set(counts)) == 1, groups, sparse)).by_groups(groups)


def _reason(
    collective: Collective, specs: Mapping[int, VariableSpec], group: tuple[int, ...]
) -> NeedsAll:
    if isinstance(collective, Join):
        return NeedsAll(joins=True)
    if not isinstance(collective, Write):
        return NeedsAll(of_group=bool(group), of_workers=_is_of_workers(collective))
    spec = specs[collective.variable_id]
    cell = policies.cell(spec, Context.REPLICA, collective.operation)
    return NeedsAll(spec, cell.text.waits)
