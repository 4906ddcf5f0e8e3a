"""The functions of Horovod on NumPy arrays: `import varsim.horovod as hvd`.

Every function is a collective of the replica's context, so ranks that call different functions get
an error at once, with their lines. Horovod waits, and warns after 60 seconds. docs/spmd.md lists
what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

import varsim.distribute  # noqa: F401  # the default strategy has the only rank of a plain program
from varsim.distribute.discarded import returns_result
from varsim.distribute.ranks import (
    Face,
    Members,
    cross_place,
    everyone,
    gathered,
    gathered_objects,
    local_place,
    members_of,
    object_of_root,
    writable,
)
from varsim.distribute.reducing_optimizer import ReducingOptimizer
from varsim.distribute.replica_context import ReplicaContext
from varsim.errors import DistributedValueError, ShapeError
from varsim.spec import Array, ReduceOp

__all__ = [
    "Average",
    "DistributedOptimizer",
    "Max",
    "Min",
    "ProcessSet",
    "Product",
    "Sum",
    "add_process_set",
    "allgather",
    "allgather_object",
    "allreduce",
    "alltoall",
    "barrier",
    "broadcast",
    "broadcast_",
    "broadcast_object",
    "broadcast_parameters",
    "broadcast_variables",
    "cross_rank",
    "cross_size",
    "global_process_set",
    "grouped_allreduce",
    "init",
    "is_initialized",
    "join",
    "local_rank",
    "local_size",
    "rank",
    "reducescatter",
    "remove_process_set",
    "shutdown",
    "size",
]

Average: Final = ReduceOp.MEAN
Sum: Final = ReduceOp.SUM
Min: Final = ReduceOp.MIN
Max: Final = ReduceOp.MAX
Product: Final = ReduceOp.PROD

_OF_BOOLS: Final = {Min: ReduceOp.ALL, Product: ReduceOp.ALL, Max: ReduceOp.ANY}


@dataclass(frozen=True)
class ProcessSet:
    """Some ranks, for operations of only these ranks. Sets of the same ranks are equal."""

    process_ranks: Sequence[int] | None  # None for all ranks

    def __post_init__(self) -> None:
        if self.process_ranks is not None:
            object.__setattr__(self, "process_ranks", tuple(sorted(self.process_ranks)))

    @property
    def ranks(self) -> list[int]:
        """Return the ranks of the members."""
        return list(self._members()[1].ranks)

    def size(self) -> int:
        """Return the number of members."""
        return len(self.ranks)

    def included(self) -> bool:
        """Return whether this rank is a member."""
        context, members = self._members()
        return context.replica_id_in_sync_group in members.ranks

    def rank(self) -> int:
        """Return the number of this rank among the members.

        Raises:
            IndexError: This rank is not a member.
        """
        context, members = self._members()
        return members.index(context.replica_id_in_sync_group, "rank")

    def _members(self) -> tuple[ReplicaContext, Members]:
        context, world = _FACE.state("ProcessSet")
        if self.process_ranks is None:
            return context, world
        return context, members_of(self.process_ranks, world.size, "hvd.ProcessSet")


global_process_set: Final = ProcessSet(None)

_FACE: Final[Face[Members]] = Face("hvd", "init()")


# ---------------------------------------------------------------- begin, end, ranks


def init(comm: object = None, process_sets: Iterable[ProcessSet] | None = None) -> None:  # noqa: ARG001  # Horovod's arguments
    """Begin to use the functions of this module, on this rank; a second call does nothing."""
    context = _FACE.replica("init")
    _FACE.begin(context, everyone(context))
    for one in process_sets or ():
        add_process_set(one)


def shutdown() -> None:
    """End the use of this module on this rank."""
    _FACE.end(_FACE.replica("shutdown"))


def is_initialized() -> bool:
    """Return whether this rank has called `init`."""
    return _FACE.has_begun(_FACE.replica("is_initialized"))


def rank() -> int:
    """Return the rank of this process."""
    return _FACE.state("rank")[0].replica_id_in_sync_group


def size() -> int:
    """Return the number of ranks."""
    context, world = _FACE.state("size")
    context.strategy.count_use.by_caller("hvd.size()")
    return world.size


def local_rank() -> int:
    """Return the number of this rank among those of its host."""
    return local_place(_FACE.state("local_rank")[0])[0]


def local_size() -> int:
    """Return the number of ranks on this host."""
    return local_place(_FACE.state("local_size")[0])[1]


def cross_rank() -> int:
    """Return the number of this rank among the ranks with its local rank, of all hosts."""
    return cross_place(_FACE.state("cross_rank")[0])[0]


def cross_size() -> int:
    """Return the number of ranks with this local rank, of all hosts."""
    return cross_place(_FACE.state("cross_size")[0])[1]


def add_process_set(process_set: ProcessSet | Sequence[int]) -> ProcessSet:
    """Return a process set. All ranks must call this function, in the same order.

    Raises:
        MismatchError: The ranks make different sets.
    """
    made = process_set if isinstance(process_set, ProcessSet) else ProcessSet(process_set)
    context, _ = _FACE.state("add_process_set")
    context.broadcast(0, name=f"hvd.add_process_set({made.ranks})")
    return made


def remove_process_set(process_set: ProcessSet) -> bool:
    """Return True; a process set needs no end."""
    return process_set.process_ranks is not None


def _ranks(what: str, process_set: ProcessSet) -> tuple[ReplicaContext, Members, dict[str, Any]]:
    """Return this rank's context, the members, and the arguments of a collective of the members.

    Raises:
        IndexError: This rank is not a member.
    """
    context, world = _FACE.state(what)
    if process_set.process_ranks is None:
        return context, world, {}
    members = members_of(process_set.process_ranks, world.size, "hvd.ProcessSet")
    members.index(context.replica_id_in_sync_group, f"hvd.{what}: rank")
    return context, members, members.options(context)


# ---------------------------------------------------------------- collectives


def _scaled(value: Any, factor: float) -> Any:
    array = np.asarray(value)
    return array if factor == 1.0 else (array * factor).astype(array.dtype)


def _op(op: ReduceOp | None, average: bool | None, arrays: Sequence[Array]) -> ReduceOp:  # noqa: FBT001
    chosen = (Sum if average is False else Average) if op is None else op
    if arrays and all(one.dtype.kind == "b" for one in arrays):
        return _OF_BOOLS.get(chosen, chosen)
    return chosen


@returns_result("hvd.allreduce")
def allreduce(
    tensor: Any,
    average: bool | None = None,  # noqa: FBT001  # Horovod's argument
    name: str | None = None,
    op: ReduceOp | None = None,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    process_set: ProcessSet = global_process_set,
) -> Array:
    """Return the reduction of the ranks' arrays, on every rank; by default their average.

    The average of integers is float64.
    """
    return grouped_allreduce(
        [tensor], average, name, op, prescale_factor, postscale_factor, process_set
    )[0]


@returns_result("hvd.grouped_allreduce")
def grouped_allreduce(
    tensors: Sequence[Any],
    average: bool | None = None,  # noqa: FBT001  # Horovod's argument
    name: str | None = None,
    op: ReduceOp | None = None,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    process_set: ProcessSet = global_process_set,
) -> list[Array]:
    """Return the reductions of several arrays, which are sent together; see `allreduce`."""
    context, _, options = _ranks("allreduce", process_set)
    given = [_scaled(one, prescale_factor) for one in tensors]
    sent: Any = given[0] if len(given) == 1 else given
    reduced = context.all_reduce(_op(op, average, given), sent, name=name, **options)
    results = [reduced] if len(given) == 1 else reduced
    return [np.asarray(_scaled(one, postscale_factor)) for one in results]


@returns_result("hvd.allgather")
def allgather(
    tensor: Any, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Array:
    """Return the ranks' arrays, concatenated along the first axis, on every rank."""
    context, members, _ = _ranks("allgather", process_set)
    array = np.asarray(tensor)
    return gathered(context, members, array.reshape(1) if array.ndim == 0 else array, name)


@returns_result("hvd.broadcast")
def broadcast(
    tensor: Any,
    root_rank: int,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> Array:
    """Return the array of one rank, on every rank."""
    context, members, options = _ranks("broadcast", process_set)
    members.index(root_rank, "root_rank")
    return np.asarray(context.broadcast(np.asarray(tensor), int(root_rank), name=name, **options))


def broadcast_(
    tensor: Array,
    root_rank: int,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> Array:
    """Replace an array by that of one rank, on every rank, and return it."""
    array = writable(tensor, "hvd.broadcast_")
    array[...] = broadcast(array, root_rank, name, process_set)
    return array


def broadcast_parameters(
    params: Mapping[str, Array] | Iterable[Any],
    root_rank: int,
    process_set: ProcessSet = global_process_set,
) -> None:
    """Replace all arrays by those of one rank, on every rank; all of them are sent together.

    Args:
        params: A dict of arrays; or a list of arrays, or of pairs of a name and an array.
    """
    _replace("broadcast_parameters", params, root_rank, process_set)


def _replace(
    what: str,
    params: Mapping[str, Array] | Iterable[Any],
    root_rank: int,
    process_set: ProcessSet,
) -> None:
    context, members, options = _ranks(what, process_set)
    members.index(root_rank, "root_rank")
    arrays = _named(params)
    if not arrays:
        return
    for name, one in arrays.items():
        writable(one, f"hvd.{what}", f"the array {name!r}")
    values = context.broadcast(arrays, int(root_rank), name="broadcast_parameters", **options)
    for name, array in arrays.items():
        array[...] = values[name]


def broadcast_variables(
    variables: Mapping[str, Array] | Iterable[Any],
    root_rank: int,
    process_set: ProcessSet = global_process_set,
) -> None:
    """Replace all arrays by those of one rank; see `broadcast_parameters`."""
    _replace("broadcast_variables", variables, root_rank, process_set)


def _named(params: Mapping[str, Array] | Iterable[Any]) -> dict[str, Array]:
    if isinstance(params, Mapping):
        return dict(params)
    pairs = [one if isinstance(one, tuple) else (str(i), one) for i, one in enumerate(list(params))]
    return dict(pairs)


def broadcast_object(
    obj: Any = None,
    root_rank: int = 0,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """Return the object of one rank, on every rank; it is sent as a pickle."""
    context, members, _ = _ranks("broadcast_object", process_set)
    members.index(root_rank, "root_rank")
    label = name or f"broadcast_object from {root_rank}"
    return object_of_root(context, members, obj, int(root_rank), label)


def allgather_object(
    obj: Any, name: str | None = None, process_set: ProcessSet = global_process_set
) -> list[Any]:
    """Return the objects of all ranks, on every rank; they are sent as pickles."""
    context, members, _ = _ranks("allgather_object", process_set)
    return gathered_objects(context, members, obj, name or "allgather_object")


@returns_result("hvd.reducescatter")
def reducescatter(
    tensor: Any,
    name: str | None = None,
    op: ReduceOp = Average,
    process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> Array:
    """Return this rank's rows of the reduction of the ranks' arrays.

    If the rows cannot be split equally, the first ranks get one row more; then the whole reduction
    is sent to every rank.
    """
    context, members, options = _ranks("reducescatter", process_set)
    array, count = np.asarray(_scaled(tensor, prescale_factor)), len(members.ranks)
    if array.ndim == 0:
        raise ShapeError(
            "(value)", "hvd.reducescatter got a scalar, which has no rows", "Use hvd.allreduce."
        )
    how = _op(op, None, [array])
    if len(array) % count == 0:
        part = context.reduce_scatter(how, array, 0, name=name, **options)
    else:
        whole = np.asarray(context.all_reduce(how, array, name=name, **options))
        own = members.index(context.replica_id_in_sync_group, "rank")
        part = np.array_split(whole, count)[own]
    return np.asarray(_scaled(part, postscale_factor))


@returns_result("hvd.alltoall")
def alltoall(
    tensor: Any,
    splits: Sequence[int] | None = None,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """Send a part of the rows to each rank; return the rows that the ranks sent to this one.

    Args:
        splits: The number of rows for each rank; by default they are equal.
    Returns:
        The rows; with `splits`, also the number of rows from each rank.
    """
    context, members, options = _ranks("alltoall", process_set)
    array, count = np.asarray(tensor), len(members.ranks)
    rows = len(array) if array.ndim else 0
    sizes = [rows // count] * count if splits is None else [int(one) for one in splits]
    if len(sizes) != count or sum(sizes) != rows:
        raise DistributedValueError(
            f"hvd.alltoall got {rows} rows and splits={None if splits is None else sizes}: give "
            f"{count} numbers whose sum is {rows}"
        )
    parts = np.split(array, np.cumsum(sizes)[:-1])
    received = [np.asarray(one) for one in context.all_to_all(parts, name=name, **options)]
    result = np.concatenate(received)
    return result if splits is None else (result, np.array([len(one) for one in received]))


def barrier(process_set: ProcessSet = global_process_set) -> None:
    """Wait until all ranks have arrived."""
    context, _, options = _ranks("barrier", process_set)
    context.barrier("hvd.barrier()", **options)


def join(device: int = -1) -> int:  # noqa: ARG001  # Horovod's argument
    """Wait until all ranks have joined, because this rank has no more batches.

    Each `allreduce` of the other ranks goes on with zeros in place of this rank's arrays; an
    average divides by the number of all ranks. This concerns only the global process set.

    Returns:
        The rank that took part in most collectives; of several, the highest. Horovod returns the
        rank that called the function last, which can be another one in each run.
    Raises:
        MismatchError: A rank calls a function for which zeros are no value, such as `allgather` or
            an `allreduce` with `Min`. Horovod refuses `allgather`, `broadcast`, `alltoall` and
            `reducescatter`, too, but gives zeros to `Min`, `Max` and `Product`.
    """
    return _FACE.state("join")[0].join()


# ---------------------------------------------------------------- optimizers


def DistributedOptimizer(  # noqa: N802  # Horovod's name
    optimizer: Any,
    *,
    op: ReduceOp = Average,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """Return an optimizer whose `apply_gradients` and `step` first reduce the gradients.

    Args:
        optimizer: An object with `apply_gradients(grads_and_vars)` or `step(gradients)` for NumPy
            arrays. Its other attributes are those of the result.
    """
    reduce = partial(grouped_allreduce, name="gradients", op=op, process_set=process_set)
    return ReducingOptimizer(optimizer, reduce)
