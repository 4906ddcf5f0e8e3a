"""Begin and end the use of torch's face; provide ranks, groups and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from varsim.distribute.ranks import (
    Face,
    Members,
    everyone,
    members_of,
)
from varsim.errors import (
    ContextError,
)
from varsim.spec import ReduceOp as Reduction


class ReduceOp(Enum):
    """How a reduction combines the arrays of the ranks."""

    SUM = Reduction.SUM
    AVG = Reduction.MEAN
    PRODUCT = Reduction.PROD
    MIN = Reduction.MIN
    MAX = Reduction.MAX


OF_BOOLS: Final = {
    ReduceOp.MIN: Reduction.ALL,
    ReduceOp.PRODUCT: Reduction.ALL,
    ReduceOp.MAX: Reduction.ANY,
}


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Some ranks, as `new_group` returns them. Groups of the same ranks are equal."""

    members: Members
    own_rank: int  # the rank of this process among all ranks

    def rank(self) -> int:
        """Return the number of this process in the group; -1 if it is not a member."""
        ranks = self.members.ranks
        return ranks.index(self.own_rank) if self.own_rank in ranks else -1

    def size(self) -> int:
        """Return the number of members."""
        return len(self.members.ranks)


class group:  # noqa: N801  # torch's name
    """The names of torch for the group of all ranks."""

    WORLD: Final = None


class GroupMember:
    """The names of torch for groups in arguments."""

    WORLD: Final = None


class Work:
    """The result of a function with `async_op=True`. The operation is complete already."""

    def wait(self, timeout: object = None) -> bool:  # torch's signature
        """Return True."""
        return True

    def is_completed(self) -> bool:
        """Return True."""
        return True


FACE: Final[Face[Members]] = Face("dist", "init_process_group()")


# ---------------------------------------------------------------- begin, end, ranks


def init_process_group(
    backend: str | None = None,  # the messages are always those of varsim
    init_method: str | None = None,  # all ranks are connected already
    timeout: object = None,  # varsim names replicas without progress
    world_size: int = -1,
    rank: int = -1,
    **others: object,  # torch's arguments for its backends
) -> None:
    """Begin to use the functions of this module, on this rank.

    Raises:
        ContextError: The ranks have begun already, or `world_size` or `rank` is not the real one.
    """
    context = FACE.replica("init_process_group")
    world, own = everyone(context), context.replica_id_in_sync_group
    if FACE.has_begun(context):
        raise ContextError(
            "dist.init_process_group was called twice; call dist.destroy_process_group between "
            "the two calls"
        )
    if world_size not in {-1, world.size}:
        raise ContextError(
            f"dist.init_process_group(world_size={world_size}): {world.size} ranks run; start the "
            f"script with varsim exec -n {world_size} --spmd"
        )
    if rank not in {-1, own}:
        raise ContextError(
            f"dist.init_process_group(rank={rank}): this is rank {own}; omit the argument"
        )
    FACE.begin(context, world)


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """End the use of this module on this rank; a single group needs no end."""
    if group is None:
        context, _ = FACE.state("destroy_process_group")
        FACE.end(context)


def is_initialized() -> bool:
    """Return whether this rank has called `init_process_group`."""
    return FACE.has_begun(FACE.replica("is_initialized"))


def is_available() -> bool:
    """Return True."""
    return True


def get_backend(group: ProcessGroup | None = None) -> str:
    """Return "varsim"."""
    return "varsim"


def get_rank(group: ProcessGroup | None = None) -> int:
    """Return the rank of this process; in a group, its number there, or -1 for no member."""
    if group is not None:
        return group.rank()
    context, _ = FACE.state("get_rank")
    return context.replica_id_in_sync_group


def get_world_size(group: ProcessGroup | None = None) -> int:
    """Return the number of ranks; of a group, -1 if this process is not a member."""
    if group is not None:
        return group.size() if group.rank() >= 0 else -1
    context, world = FACE.state("get_world_size")
    context.strategy.count_use.by_caller("dist.get_world_size()")
    return world.size


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """Return the ranks of the members."""
    members = FACE.state("get_process_group_ranks")[1] if group is None else group.members
    return list(members.ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """Return the number of a rank in a group."""
    return group.members.index(global_rank, "global_rank")


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """Return the rank of the member with this number."""
    return group.members.ranks[group_rank]


def new_group(ranks: Sequence[int] | None = None, **others: object) -> ProcessGroup:
    """Return a group of some ranks. All ranks must call this function, in the same order.

    Raises:
        MismatchError: The ranks make different groups.
    """
    context, world = FACE.state("new_group")
    members = world if ranks is None else members_of(ranks, world.size, "dist.new_group")
    context.broadcast(0, name=f"dist.new_group({list(members.ranks)})")
    return ProcessGroup(members, context.replica_id_in_sync_group)
