"""Provide the collectives of torch.distributed on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from varsim.distribute.ranks import (
    writable,
)
from varsim.errors import (
    ShapeError,
)
from varsim.spec import Array
from varsim.torch_distributed.groups import ProcessGroup, ReduceOp, Work
from varsim.torch_distributed.operation import Here, done, here_in


def all_reduce(
    tensor: Array,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Replace the array by the reduction of the arrays of all ranks, on every rank."""
    array = writable(tensor, "dist.all_reduce")
    here = here_in("all_reduce", group)
    if here is not None:
        here.fill(array, here.context.all_reduce(here.op(op, array), array, **here.options))
    return done(async_op)


def reduce(
    tensor: Array,
    dst: int,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Replace the array on rank `dst` by the reduction; the other ranks keep their arrays."""
    array = writable(tensor, "dist.reduce")
    here = here_in("reduce", group)
    if here is not None:
        here.members.index(dst, "dst")
        name, reduction = f"dist.reduce(dst={dst})", here.op(op, array)
        result = here.context.all_reduce(reduction, array, name=name, **here.options)
        if here.rank == dst:
            here.fill(array, result)
    return done(async_op)


def broadcast(
    tensor: Array, src: int, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Replace the array by that of rank `src`, on every rank."""
    array = writable(tensor, "dist.broadcast")
    here = here_in("broadcast", group)
    if here is not None:
        here.members.index(src, "src")
        here.fill(array, here.context.broadcast(array, int(src), **here.options))
    return done(async_op)


def all_gather(
    tensor_list: list[Array],
    tensor: Array,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Write the array of each rank into the list, on every rank."""
    here = here_in("all_gather", group)
    if here is not None:
        targets = here.listed(tensor_list, "tensor_list")
        for target, value in zip(targets, here.gathered(np.asarray(tensor)), strict=True):
            here.fill(writable(target, here.what), value)
    return done(async_op)


def all_gather_into_tensor(
    output_tensor: Array,
    input_tensor: Array,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Write the arrays of all ranks into one array, concatenated or along a new first axis."""
    output = writable(output_tensor, "dist.all_gather_into_tensor")
    here = here_in("all_gather_into_tensor", group)
    if here is not None:
        array = np.asarray(input_tensor)
        _check_parts(here, output, array, "output_tensor")
        here.fill(output, here.gathered(array).reshape(output.shape))
    return done(async_op)


def gather(
    tensor: Array,
    gather_list: list[Array] | None = None,
    dst: int = 0,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Write the array of each rank into the list of rank `dst`."""
    here = here_in("gather", group)
    if here is not None:
        index, array = here.only_on(dst, gather_list, "gather_list", "dst"), np.asarray(tensor)
        targets = here.listed(gather_list, "gather_list") if here.rank == dst else []
        nothing = np.empty((0, *array.shape), array.dtype)
        parts = [array[None] if i == index else nothing for i in range(here.count)]
        received = here.exchange(parts, f"dist.gather(dst={dst})")
        for target, value in zip(targets, received, strict=False):  # no targets on other ranks
            here.fill(writable(target, here.what), value[0])
    return done(async_op)


def scatter(
    tensor: Array,
    scatter_list: list[Array] | None = None,
    src: int = 0,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Replace the array by the array in the list of rank `src` that is for this rank."""
    array = writable(tensor, "dist.scatter")
    here = here_in("scatter", group)
    if here is not None:
        index = here.only_on(src, scatter_list, "scatter_list", "src")
        parts = [np.empty((0, *array.shape), array.dtype)] * here.count
        if here.rank == src:
            parts = [np.asarray(one)[None] for one in here.listed(scatter_list, "scatter_list")]
        here.fill(array, here.exchange(parts, f"dist.scatter(src={src})")[index][0])
    return done(async_op)


def reduce_scatter(
    output: Array,
    input_list: list[Array],
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Reduce the lists of all ranks, array by array, and write this rank's array into `output`."""
    target = writable(output, "dist.reduce_scatter")
    here = here_in("reduce_scatter", group)
    if here is not None:
        _reduce_scatter(here, target, np.stack(here.listed(input_list, "input_list")), op)
    return done(async_op)


def reduce_scatter_tensor(
    output: Array,
    input: Array,  # torch's name
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Reduce the arrays of all ranks, and write this rank's part of the result into `output`."""
    target = writable(output, "dist.reduce_scatter_tensor")
    here = here_in("reduce_scatter_tensor", group)
    if here is not None:
        array = np.asarray(input)
        _check_parts(here, array, target, "input")
        _reduce_scatter(here, target, array.reshape(here.count, *target.shape), op)
    return done(async_op)


def _reduce_scatter(here: Here, target: Array, stacked: Array, op: ReduceOp) -> None:
    result = here.context.reduce_scatter(here.op(op, stacked), stacked, 0, **here.options)
    here.fill(target, np.asarray(result)[0])


def _check_parts(here: Here, whole: Array, part: Array, argument: str) -> None:
    shape = part.shape
    concatenated = (here.count * shape[0], *shape[1:]) if shape else (here.count,)
    if whole.shape not in {concatenated, (here.count, *shape)}:
        raise ShapeError(
            "(value)",
            f"{here.what}({argument}=…) has the shape {list(whole.shape)}, and {here.count} ranks "
            f"have arrays of {list(shape)}",
            f"Its shape must be {list(concatenated)} or {[here.count, *shape]}.",
        )


def all_to_all(
    output_tensor_list: list[Array],
    input_tensor_list: list[Array],
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Send one array to each rank, and write those of the ranks into the output list."""
    here = here_in("all_to_all", group)
    if here is not None:
        targets = here.listed(output_tensor_list, "output_tensor_list")
        parts = [np.asarray(one) for one in here.listed(input_tensor_list, "input_tensor_list")]
        for target, value in zip(targets, here.exchange(parts, None), strict=True):
            here.fill(writable(target, here.what), value)
    return done(async_op)


def all_to_all_single(
    output: Array,
    input: Array,  # torch's name
    output_split_sizes: Sequence[int] | None = None,
    input_split_sizes: Sequence[int] | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Send a part of the rows to each rank, and write those of the ranks into the output."""
    target = writable(output, "dist.all_to_all_single")
    here = here_in("all_to_all_single", group)
    if here is not None:
        parts = _split(here, np.asarray(input), input_split_sizes, "input_split_sizes")
        received = here.exchange(parts, None)
        expected = _split(here, target, output_split_sizes, "output_split_sizes")
        if [len(one) for one in expected] != [len(one) for one in received]:
            raise ShapeError(
                "(value)",
                f"{here.what}(output_split_sizes={[len(one) for one in expected]}): the ranks have "
                f"sent {[len(one) for one in received]} rows",
                "Give the numbers of rows that the ranks send to this one.",
            )
        here.fill(target, np.concatenate(received))
    return done(async_op)


def _split(here: Here, array: Array, sizes: Sequence[int] | None, argument: str) -> list[Array]:
    rows = len(array) if array.ndim else 0
    if not sizes:
        if rows % here.count:
            raise ShapeError(
                "(value)",
                f"{here.what}: {rows} rows cannot be split equally among {here.count} ranks",
                f"Give {argument}.",
            )
        return np.split(array, here.count)
    if len(sizes) != here.count or sum(sizes) != rows:
        raise ShapeError(
            "(value)",
            f"{here.what}({argument}={list(sizes)}): the array has {rows} rows, and {here.count} "
            "ranks take part",
            "Give one number for each rank; their sum is the number of rows.",
        )
    return np.split(array, np.cumsum(sizes)[:-1])


all_gather_single = all_gather_into_tensor
reduce_scatter_single = reduce_scatter_tensor
"""Newer names of torch."""
