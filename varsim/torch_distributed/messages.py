"""Provide the barriers, sends and receives of torch.distributed."""

from __future__ import annotations

from typing import Any

import numpy as np

from varsim.distribute.ranks import (
    writable,
)
from varsim.errors import (
    DistributedValueError,
    UnsupportedError,
)
from varsim.spec import Array
from varsim.torch_distributed.groups import ProcessGroup
from varsim.torch_distributed.operation import done, here_in


def barrier(group: ProcessGroup | None = None, async_op: bool = False, **others: object) -> Any:
    """Wait until all ranks have arrived."""
    _meet("barrier", group)
    return done(async_op)


def monitored_barrier(
    group: ProcessGroup | None = None,
    timeout: object = None,  # a rank that cannot arrive is named at once
    wait_all_ranks: bool = False,
) -> None:
    """Wait until all ranks have arrived; as every barrier, it names the ranks that cannot arrive.

    A rank that computes for long is named by the warning about replicas without progress.
    """
    _meet("monitored_barrier", group)


def _meet(what: str, group: ProcessGroup | None) -> None:
    here = here_in(what, group)
    if here is not None:
        here.context.barrier(f"{here.what}()", **here.options)


def send(tensor: Array, dst: int, group: ProcessGroup | None = None, tag: int = 0) -> None:
    """Send an array to a rank, and wait until the rank receives it.

    torch returns before that if the array is small. A program that depends on this deadlocks with
    large arrays; here it gets a DeadlockError with the lines of all ranks.
    """
    here = here_in("send", group)
    if here is not None:
        here.members.index(dst, "dst")
        here.context.send([tag, np.asarray(tensor)], int(dst))


def recv(
    tensor: Array, src: int | None = None, group: ProcessGroup | None = None, tag: int = 0
) -> int:
    """Wait for the array that a rank sends, write it into `tensor`, and return the rank.

    Raises:
        ValueError: The array has another shape, dtype or tag.
    """
    array = writable(tensor, "dist.recv")
    here = here_in("recv", group)
    if here is None:
        return -1
    if src is None:
        raise UnsupportedError(
            "dist.recv(src=None): name the rank that sends, as in recv(x, src=0)"
        )
    here.members.index(src, "src")
    sent_tag, value = here.context.recv(int(src))
    if sent_tag != tag:
        raise DistributedValueError(
            f"dist.recv(src={src}, tag={tag}): the array that rank {src} has sent has tag "
            f"{sent_tag}; the arrays of a rank arrive in the order in which it sends them"
        )
    here.fill(array, np.asarray(value))
    return int(src)
