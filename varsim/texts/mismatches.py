"""Facts about mismatches: replicas of one call did different things where all must do the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final

from varsim.spec import SCATTERS, Operation, VariableAggregation, VariableSpec
from varsim.texts.facts import Fact, name_replicas
from varsim.texts.replicas import CollectiveAt, Group, group_lines
from varsim.value_class import value_class

MOST_DIFFERENCES: Final = 6
"""Largest number of differences of structures that an error lists."""

_UNKNOWN: Final = "an unknown location"

_NO_ROWS: Final = (
    "A replica that has no rows to write can write zero rows, such as "
    "v.{}(tf.IndexedSlices(values[:0], indices[:0]))."
)

_JOIN: Final = (
    "If a replica has no more data, let it call context.join() or hvd.join() before it ends; then "
    "zeros replace its values."
)

_SAME_LINES: Final = (
    "If these collectives are the same operation, give them the same name= on every replica. If "
    "not, make every replica run the same lines in the same order."
)


class Mismatch(IntEnum):
    """A difference between two replicas' arrivals at a collective.

    If there are several differences, the error shows the one with the lowest number.
    """

    OPERATION = 1  # another variable, operation, or kind of collective
    ARGUMENTS = 2  # the same kind of collective with another op, axis, root, …
    NAME = 3  # the same operation under another name
    LOCATION = 4  # the same operation without a name, in another line, under strict=True
    VALUE = 5  # the same operation with another shape, dtype or structure
    NOTHING = 6  # no difference


_HAPPENED: Final = {
    Mismatch.OPERATION: "did different things",
    Mismatch.ARGUMENTS: "called a collective with different arguments",
    Mismatch.NAME: "called collectives with different names",
    Mismatch.LOCATION: "called unnamed collectives in different lines",
    Mismatch.VALUE: "gave values that do not match",
}
_REMEDIES: Final = {
    Mismatch.OPERATION: (
        "TensorFlow pairs these operations only by call order and mixes their values; varsim "
        "refuses this (difference D3 in docs/semantics.md). Make every replica do the same "
        "operations in the same order."
    ),
    Mismatch.ARGUMENTS: (
        "TensorFlow pairs collectives only by call order and mixes their values; varsim refuses "
        "this (difference D3 in docs/semantics.md). Give the same arguments on every replica."
    ),
    Mismatch.NAME: (
        "Only collectives with the same name are combined. Make every replica use the same names "
        "in the same order."
    ),
    Mismatch.LOCATION: (
        "These collectives would be paired only by call order, and strict=True refuses this. "
        f"{_SAME_LINES}"
    ),
    Mismatch.VALUE: "Give a value of the same structure, shape and dtype on every replica.",
}

_REMEDY_OF_GROUP: Final = (
    "Make every member of the group do the same collectives of this group in the same order."
)


def in_short(kind: Mismatch) -> str:
    """Return the problem and the remedy, without the replicas."""
    return f"{_headline(kind, _collective(0, ()), ())}. {_REMEDIES[kind]}"


def _headline(kind: Mismatch, collective: str, group: Sequence[int]) -> str:
    all_ = "all members" if group else "all"
    return f"replicas {_HAPPENED[kind]} at {collective}, where {all_} must do the same"


def _collective(index: int, group: Sequence[int], *, in_script: bool = False) -> str:
    of_group = f"the group of {name_replicas(group)} in " if group else ""
    return f"collective {index + 1} of {of_group}this {'script' if in_script else 'call'}"


# ---------------------------------------------------------------- why replicas wait


@value_class
class NeedsAll(Fact):
    """The reason why replicas wait at a write, or, without a `spec`, at another collective."""

    spec: VariableSpec | None = None
    waits: str = ""  # the text `CellText.waits` of the variable's cell
    of_group: bool = False  # whether only the members of a process group take part
    joins: bool = False  # whether the replicas wait in `join`
    of_workers: bool = False  # whether the programs of all workers perform the operation together

    def __str__(self) -> str:
        spec = self.spec
        if self.joins:
            return "A join ends when every replica has joined."
        if self.of_workers:
            return (
                "In cross-replica context, outside strategy.run, the workers perform operations "
                "together. So every worker must perform each of them, even if only one needs it."
            )
        if spec is None and self.of_group:
            return (
                "Every member of the group must take part in this collective, because its result "
                "depends on all members."
            )
        if spec is None:
            return (
                "Every replica must take part in this collective, because its result depends on "
                "all replicas."
            )
        aggregate = _AGGREGATES.get(spec.aggregation, "a value")
        why = self.waits.format(aggregate=aggregate)
        return f"{_variable(spec)} makes the replicas wait: {why}."


_AGGREGATES: Final = {
    VariableAggregation.SUM: "the sum of all replicas' values",
    VariableAggregation.MEAN: "the mean of all replicas' values",
    VariableAggregation.ONLY_FIRST_REPLICA: "replica 0's value on all replicas",
}


def _variable(spec: VariableSpec) -> str:
    return (
        f"{spec.name!r} (synchronization={spec.synchronization.name}, "
        f"aggregation={spec.aggregation.name}, created at {spec.created_at or _UNKNOWN})"
    )


# ---------------------------------------------------------------- mismatches


@value_class
class Unlike(Fact):
    """All replicas have arrived at a collective, but the arrivals cannot be combined."""

    kind: Mismatch
    index: int  # index of the collective in its call, from 0
    groups: tuple[Group, ...]
    details: tuple[Fact, ...]
    reason: NeedsAll
    group: tuple[int, ...] = ()  # the process group of the collective; () for all replicas
    in_script: bool = False  # whether the function of the call is a whole script

    def __str__(self) -> str:
        of_operations = self.kind is Mismatch.OPERATION
        collective = _collective(self.index, self.group, in_script=self.in_script)
        return "\n".join(
            [
                f"{_headline(self.kind, collective, self.group)}:",
                *group_lines(self.groups, all_told=True),
                *(f"  {detail}" for detail in difference_lines(self.details)),
                f"  {self.reason}",
                f"  {_REMEDY_OF_GROUP if of_operations and self.group else _REMEDIES[self.kind]}",
            ]
        )


@value_class
class UnlikeStructures(Fact):
    """Replicas returned structures that cannot be joined.

    If `details` is empty, the keys of dicts differ.
    """

    details: tuple[Fact, ...]

    def __str__(self) -> str:
        lines = [*difference_lines(self.details)] or [
            "a key of a dict is not equal to the key on another replica, although the two keys "
            "have the same repr(). Use keys such as strings or whole numbers, and not NaN"
        ]
        return "\n  ".join(["replicas gave structures that do not match:", *lines])


@value_class
class Absent(Fact):
    """Some replicas wait at a collective for other replicas whose functions have ended."""

    index: int
    ended: int  # the number of replicas whose functions have ended
    groups: tuple[Group, ...]
    reason: NeedsAll
    write: Operation | None  # the write in which replicas wait; None for another collective
    group: tuple[int, ...] = ()  # see `Unlike`
    in_script: bool = False  # see `Unlike`
    may_join: bool = False  # whether the collective can happen without replicas that have joined

    def __str__(self) -> str:
        later = "."
        if self.write in SCATTERS:
            later = f". {_NO_ROWS.format(self.write.value)}"
        elif self.write is not None:
            later = ", or use synchronization=ON_READ if the value can be combined later."
        if self.may_join:
            later += f" {_JOIN}"
        collective = _collective(self.index, self.group, in_script=self.in_script)
        return "\n".join(
            [
                f"replicas wait at {collective} for "
                f"{'a replica' if self.ended == 1 else 'replicas'} that will not arrive:",
                *group_lines(self.groups, all_told=True),
                f"  {self.reason}",
                f"  Let every {'member' if self.group else 'replica'} reach this operation: move "
                f"it out of code that only some {'members' if self.group else 'replicas'} run"
                f"{later}",
            ]
        )


@value_class
class NeedsJoined(Fact):
    """A collective needs the values of replicas that have joined."""

    operation: str  # with its op, if it has one: all_reduce(MAX)
    index: int  # see `Unlike`
    groups: tuple[Group, ...]
    joined: tuple[int, ...]
    in_script: bool = False  # see `Unlike`

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.operation} needs a value of {name_replicas(self.joined)}, which "
                f"{'has' if len(self.joined) == 1 else 'have'} joined, at "
                f"{_collective(self.index, (), in_script=self.in_script)}:",
                *group_lines(self.groups),
                "  A replica that has joined gives zeros to all_reduce with SUM, MEAN or ANY, and "
                "no value to a write. Other collectives need a value of each replica, and a write "
                "with ONLY_FIRST_REPLICA needs that of replica 0.",
                "  Let every replica reach this operation before it joins, or do this operation "
                "after all replicas have joined.",
            ]
        )


@value_class
class Uneven(Fact):
    """Replicas have made different writes to a deferred variable."""

    spec: VariableSpec
    same_count: bool
    groups: tuple[Group, ...]
    sparse: bool  # whether a replica wrote rows

    @property
    def headline(self) -> str:
        """Return the problem."""
        what = "by different operations" if self.same_count else "a different number of times"
        return f"replicas wrote {self.spec.name!r} {what} in this call, where all must do the same"

    @property
    def remedy(self) -> str:
        """Return the remedy."""
        other = "Or use synchronization=ON_READ if each replica can write it independently."
        return (
            "Make every replica write this variable the same number of times, by the same "
            "operations in the same order. "
            f"{_NO_ROWS.format('scatter_add') if self.sparse else other}"
        )

    def __str__(self) -> str:
        spec = self.spec
        return "\n".join(
            [
                f"{self.headline}:",
                *group_lines(self.groups, all_told=True),
                f"  {spec.name!r} (synchronization=AUTO and adaptive, "
                f"aggregation={spec.aggregation.name}, created at "
                f"{spec.created_at or _UNKNOWN}) needs the same writes of every replica: "
                "these writes are combined when the variable is read.",
                f"  {self.remedy}",
            ]
        )


@value_class
class Crossing(Fact):
    """Unnamed collectives in different lines were combined only because of the call order."""

    # Each collective with its replicas; the collective with the fewest replicas is first.
    sides: tuple[tuple[CollectiveAt, tuple[int, ...]], ...]

    def __str__(self) -> str:
        operation = self.sides[0][0].operation
        sides = [
            f"{operation} at {one.location or _UNKNOWN} ({name_replicas(who)})"
            for one, who in self.sides
        ]
        what = (
            "replica 0's function runs for all replicas"
            if operation == "merge_call"
            else "their values are mixed"
        )
        return (
            f"{' is combined with '.join(sides)}: without a name, collectives are paired only by "
            f"call order, and {what}\n  {_SAME_LINES} strict=True refuses such pairs."
        )


# ---------------------------------------------------------------- details


@value_class
class Sides(Fact):
    """Groups of replicas differ in one respect."""

    sides: tuple[tuple[str, tuple[int, ...]], ...]  # text and replicas, fewest replicas first
    subject: str = ""  # what differs, such as a variable or an argument
    facet: str = ""  # the property of the subject that differs: "shape" or "dtype"

    def __str__(self) -> str:
        subject = f"{self.subject}: " if self.subject else ""
        facet = f"{self.facet} " if self.facet else ""
        sides = (f"{what} on {name_replicas(who)}" for what, who in self.sides)
        return f"{subject}{facet}{' against '.join(sides)}"


@value_class
class Lacks(Fact):
    """Some replicas' structures have nothing at a path."""

    replica_ids: tuple[int, ...]
    path: str

    def __str__(self) -> str:
        has = "has" if len(self.replica_ids) == 1 else "have"
        return f"{name_replicas(self.replica_ids)} {has} no {key_text(self.path)}"


def key_text(path: str) -> str:
    """Return a path as it is shown to users. A single key of a dict is shown without brackets."""
    return path[1:-1] if path[:2] in {"['", '["'} and path.count("[") == 1 else path


def difference_lines(details: Sequence[Fact]) -> Iterator[str]:
    """Yield a line for each difference, up to `MOST_DIFFERENCES`."""
    yield from map(str, details[:MOST_DIFFERENCES])
    more = len(details) - MOST_DIFFERENCES
    if more > 0:
        yield f"… and {more} more differences"
