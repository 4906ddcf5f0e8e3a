"""Facts about what replicas do, with locations in the program, and groups of such replicas."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from varsim.texts.facts import Fact, name_replicas
from varsim.value_class import value_class

if TYPE_CHECKING:  # varsim.errors imports this module, and --help must not import NumPy
    import numpy as np

    from varsim.spec import Operation

MOST_GROUPS: Final = 12
"""Largest number of groups of replicas in an error: more groups would not be readable."""


def _at(location: str) -> str:
    return f" at {location}" if location else ""


# ---------------------------------------------------------------- operations


@value_class
class Namesake(Fact):
    """Which of several variables with the same name an operation uses."""

    number: int  # from 1, in order of creation
    count: int
    created_at: str

    def __str__(self) -> str:
        return (
            f"number {self.number} of {self.count} variables with this name, created"
            f"{_at(self.created_at) or ' in this order'}"
        )


def _which(namesake: Namesake | None) -> str:
    return "" if namesake is None else f"; {namesake}"


@value_class
class WriteAt(Fact):
    """A write in replica context."""

    variable: str
    operation: Operation
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    location: str
    namesake: Namesake | None = None  # None if no other variable has this name

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        what = f"{self.variable}.{self.operation.value} ({self.dtype} {shape})"
        return f"{what}{_at(self.location)}{_which(self.namesake)}"


@value_class
class CollectiveAt(Fact):
    """A collective as a program calls it, with dtypes and shapes in place of values."""

    operation: str  # all_reduce, all_gather or merge_call
    arguments: tuple[str, ...]
    location: str

    def __str__(self) -> str:
        arguments = f"({', '.join(self.arguments)})" if self.arguments else ""
        return f"{self.operation}{arguments}{_at(self.location)}"


@value_class
class ReadAt(Fact):
    """A read that waits for the replica's own write."""

    variable: str
    location: str
    namesake: Namesake | None = None  # as in `WriteAt`

    def of(self, count: int) -> str:
        """Return the text for this number of replicas."""
        after = "after its own write to it" if count == 1 else "each after its own write to it"
        return f"a read of {self.variable}, {after}{_at(self.location)}{_which(self.namesake)}"

    def __str__(self) -> str:
        return self.of(1)


@value_class
class HostCallAt(Fact):
    """A request of the replica to the program."""

    location: str

    def __str__(self) -> str:
        return f"a request to the program{_at(self.location)}"


# ---------------------------------------------------------------- activities of a replica


class Doing(Fact):
    """The activity of one replica, or the same activity of several replicas."""

    __slots__ = ()

    @abstractmethod
    def of(self, count: int) -> str:
        """Return the text, with its verb in singular or plural for this number of replicas."""

    def __str__(self) -> str:
        return self.of(1)


@value_class
class Did(Doing):
    """The replica has performed an operation."""

    operation: Fact

    def of(self, count: int) -> str:  # noqa: ARG002  # the same for any number
        """Return the operation."""
        return str(self.operation)


@value_class
class NeverCame(Doing):
    """The function ended before the collective."""

    ended: str  # "raised" or "returned"; "ended" for a script
    collectives: int  # the number of collectives before the end
    of_group: bool = False  # whether only the collectives of a process group are counted
    in_script: bool = False  # whether the function is a whole script

    def of(self, count: int) -> str:
        """Return how the function ended."""
        before = f"{self.collectives} collective{'' if self.collectives == 1 else 's'}"
        before += " of this group" if self.of_group else ""
        what = "script" if self.in_script else "function"
        its = f"its {what}" if count == 1 else f"their {what}s"
        return f"never arrived; {its} {self.ended} after {before}"


@value_class
class WaitsIn(Doing):
    """The replica waits in an operation."""

    operation: Fact
    now_at: str = ""

    def of(self, count: int) -> str:
        """Return the operation in which the replica waits."""
        verb, operation = "waits" if count == 1 else "wait", self.operation
        what = operation.of(count) if isinstance(operation, ReadAt) else str(operation)
        return f"{verb} in {what}{_now(self.now_at)}"


@value_class
class Runs(Doing):
    """The replica runs its function."""

    now_at: str = ""

    def of(self, count: int) -> str:
        """Return that the replica runs, with its line if the line is known."""
        return f"{'runs' if count == 1 else 'run'}{_now(self.now_at)}"


@value_class
class HasEnded(Doing):
    """The function has ended."""

    now_at: str = ""

    def of(self, count: int) -> str:
        """Return that the function has ended."""
        return f"{'has' if count == 1 else 'have'} ended{_now(self.now_at)}"


def _now(location: str) -> str:
    return f", now at {location}" if location else ""


@value_class
class DidNotCome(Doing):
    """The replica has not arrived at the collective, and does something else."""

    instead: Doing

    def of(self, count: int) -> str:
        """Return that the replica did not arrive, and what it does instead."""
        return f"did not arrive ({self.instead.of(count)})"


@value_class
class Wrote(Doing):
    """The number of the replica's writes to a variable, and what the replica does now."""

    count: int
    ended: str = ""  # "raised" or "returned"; "" while the function runs
    now: Doing | None = None

    def of(self, count: int) -> str:
        """Return the number of writes."""
        one = count == 1
        said = f"{self.count} write{'' if self.count == 1 else 's'}{'' if one else ' each'}"
        if self.ended:
            return f"{said}; {'its function' if one else 'their functions'} {self.ended}"
        if self.now is not None:
            return f"{said}; {'it' if one else 'they'} {self.now.of(count)}"
        return said


# ---------------------------------------------------------------- groups


@value_class
class Group:
    """Replicas that do the same."""

    replica_ids: tuple[int, ...]  # in replica order
    doing: Doing

    @property
    def what(self) -> str:
        """Return what the replicas do."""
        return self.doing.of(len(self.replica_ids))

    def __str__(self) -> str:
        return f"{name_replicas(self.replica_ids)}: {self.what}"


def grouped(
    doings: Iterable[Doing] | Mapping[int, Doing], more: Iterable[Hashable] | None = None
) -> tuple[Group, ...]:
    """Group replicas that do the same. The smallest group is first.

    Args:
        doings: What each replica does, in replica order, or what some replicas do, by replica_id.
        more: Further properties of each replica that must be equal within a group. The texts do
            not show these properties.
    """
    by_id = doings if isinstance(doings, Mapping) else dict(enumerate(doings))
    who: dict[tuple[Doing, Hashable], list[int]] = {}
    further = [None] * len(by_id) if more is None else more
    for replica_id, key in zip(by_id, zip(by_id.values(), further, strict=True), strict=True):
        who.setdefault(key, []).append(replica_id)
    groups = [Group(tuple(ids), doing) for (doing, _), ids in who.items()]
    return tuple(sorted(groups, key=lambda group: (len(group.replica_ids), group.replica_ids)))


def group_lines(groups: Sequence[Group], *, all_told: bool = False) -> list[str]:
    """Return a line for each group, or for the first and the largest of too many groups.

    Args:
        all_told: Whether the groups have all replicas. If one replica then differs from at least
            two others, which do the same, its line says so.
    """
    lines = [f"  {group}" for group in groups]
    if (
        all_told
        and len(groups) == 2
        and len(groups[0].replica_ids) == 1 < len(groups[1].replica_ids)
    ):
        lines[0] = f"  only {groups[0]}"
    more = len(groups) - MOST_GROUPS
    if more <= 0:
        return lines
    return [*lines[: MOST_GROUPS - 1], f"  … and {more} more groups", lines[-1]]
