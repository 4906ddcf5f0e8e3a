"""Run a member of a group with PyTorch's bare all-reduce over gloo: float32, SUM, in place.

The arguments are the rank of this member, the size of the group, and a file through which the
members find each other. The case is the size in bytes.
"""

from __future__ import annotations

import sys
from functools import partial

import torch  # type: ignore[import-not-found]
import torch.distributed as group  # type: ignore[import-not-found]

from benchmarks.peers.member import Step, check, serve


def all_reduce(size_bytes: str) -> Step:
    """Return the step, after a check."""
    buffer = torch.full((int(size_bytes) // 4,), group.get_rank() + 1.0, dtype=torch.float32)
    group.all_reduce(buffer)
    size = group.get_world_size()
    check(float(buffer[-1]), size * (size + 1) / 2)
    buffer.zero_()  # sums of sums would overflow
    return partial(group.all_reduce, buffer)


if __name__ == "__main__":
    rank, size, rendezvous = sys.argv[1:]
    torch.set_num_threads(1)
    group.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=int(rank), world_size=int(size)
    )
    serve(int(rank), f"torch {torch.__version__}", all_reduce)
    group.destroy_process_group()
