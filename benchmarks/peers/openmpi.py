"""Run a member of a group with Open MPI's bare Allreduce: float32, SUM, in place, by mpi4py.

mpirun starts this program. The case is the size in bytes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from mpi4py import MPI  # type: ignore[import-not-found]

from benchmarks.peers.member import Step, check, serve

GROUP = MPI.COMM_WORLD


def all_reduce(size_bytes: str) -> Step:
    """Return the step, after a check."""
    buffer = np.full(int(size_bytes) // 4, GROUP.rank + 1.0, dtype=np.float32)
    GROUP.Allreduce(MPI.IN_PLACE, buffer)
    check(float(buffer[-1]), GROUP.size * (GROUP.size + 1) / 2)
    buffer.fill(0)  # sums of sums would overflow
    return partial(GROUP.Allreduce, MPI.IN_PLACE, buffer)


if __name__ == "__main__":
    serve(GROUP.rank, MPI.Get_library_version().partition(",")[0], all_reduce)
