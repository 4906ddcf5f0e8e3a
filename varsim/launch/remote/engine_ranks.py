"""Read what an engine has put into the environment: this host's number, and all hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from varsim.errors import ConfigError

_VARIABLES: Final = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # mpirun of Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # mpirun of MPICH and Intel MPI; srun with --mpi=pmi2
    ("SLURM_PROCID", "SLURM_NTASKS"),  # srun
    ("JOB_COMPLETION_INDEX", ""),  # an indexed Job of Kubernetes
)
"""The variables of each engine: the rank and the number of processes, if the engine gives it."""


_TF_CONFIG: Final = "TF_CONFIG"
_JOBS: Final = ("chief", "worker")
"""The jobs of TF_CONFIG whose tasks run replicas, in the order of their ranks."""


def rank_and_size(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return the rank and the number of processes that an engine has set; None if it has not.

    Raises:
        ConfigError: TF_CONFIG cannot be understood.
    """
    for rank, size in _VARIABLES:
        if environment.get(rank, "").isdecimal():
            given = environment.get(size, "")
            return int(environment[rank]), int(given) if given.isdecimal() else None
    tasks, task = _tf_config(environment)
    return (tasks.index(task), len(tasks)) if task in tasks else (None, None)


def hosts_of_tf_config(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts of the chief and the workers in TF_CONFIG, in the order of their ranks.

    The result is () without TF_CONFIG, or if its tasks have no addresses with ports.

    Raises:
        ConfigError: TF_CONFIG cannot be understood.
    """
    tasks, _ = _tf_config(environment)
    addresses = [address for _, _, address in tasks]
    if not all(":" in one for one in addresses):
        return ()
    return tuple(dict.fromkeys(one.rpartition(":")[0] for one in addresses))


_Task = tuple[str, int, str]
"""The job of a task, its number within the job, and its address."""


def _tf_config(environment: Mapping[str, str]) -> tuple[list[_Task], _Task | None]:
    """Return the tasks that run replicas, and which of them this process is, if any."""
    text = environment.get(_TF_CONFIG, "")
    if not text:
        return [], None
    try:
        config = json.loads(text)
        cluster, own = config.get("cluster", {}), config.get("task", {})
        tasks = [
            (job, number, str(address))
            for job in _JOBS
            for number, address in enumerate(cluster.get(job, []))
        ]
        mine = own.get("type"), own.get("index")
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            "TF_CONFIG cannot be understood: it must be JSON, such as "
            '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    return tasks, next((one for one in tasks if one[:2] == mine), None)
