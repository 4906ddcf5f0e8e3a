"""Read the number of this process, and the number of all, from the environment of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_VARIABLES: Final = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # mpirun of Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # mpirun of MPICH and Intel MPI; srun with --mpi=pmi2
    ("SLURM_PROCID", "SLURM_NTASKS"),  # srun
    ("JOB_COMPLETION_INDEX", ""),  # an indexed Job of Kubernetes
)
"""The variables of each engine: the rank and the number of processes, if the engine gives it."""


def rank_and_size(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return the rank and the number of processes that an engine has set; None if it has not."""
    for rank, size in _VARIABLES:
        if environment.get(rank, "").isdecimal():
            given = environment.get(size, "")
            return int(environment[rank]), int(given) if given.isdecimal() else None
    return None, None
