"""Provide `tf.distribute.cluster_resolver`: the workers of a program, and which of them it is.

varsim's workers have no addresses: the coordinator starts them. The environment variable TF_CONFIG,
which each worker of `varsim exec --spmd` has, contains their names instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from varsim.errors import ConfigError, ContextError, MissingName

__all__ = ["ClusterResolver", "SimpleClusterResolver", "TFConfigClusterResolver"]

TF_CONFIG: Final = "TF_CONFIG"
"""The environment variable with which TensorFlow's programs describe their cluster."""

CHIEF: Final = "chief"
WORKER: Final = "worker"
EVALUATOR: Final = "evaluator"

_FORM: Final = (
    '{"cluster": {"worker": ["worker-0", "worker-1"]}, "task": {"type": "worker", "index": 0}}'
)


class ClusterSpec:
    """`tf.train.ClusterSpec`: the addresses of a cluster's tasks, by their jobs.

    Args:
        cluster: A mapping from the name of a job to the list of its addresses, or to a mapping from
            the number of a task to its address; or another ClusterSpec.
    Raises:
        TypeError: It is neither.
    """

    def __init__(self, cluster: ClusterSpec | Mapping[str, Any]) -> None:
        if isinstance(cluster, ClusterSpec):
            cluster = cluster.as_dict()
        if not isinstance(cluster, Mapping):
            raise TypeError(f"a ClusterSpec needs a dict of jobs, not {type(cluster).__name__}")
        self._tasks: dict[str, dict[int, str]] = {}
        for job, tasks in sorted(cluster.items()):
            pairs = tasks.items() if isinstance(tasks, Mapping) else enumerate(tasks)
            self._tasks[job] = {int(index): str(address) for index, address in sorted(pairs)}

    @property
    def jobs(self) -> list[str]:
        """Return the names of the jobs."""
        return list(self._tasks)

    def as_dict(self) -> dict[str, Any]:
        """Return a dict from each job to its addresses."""
        return {
            job: list(tasks.values()) if [*tasks] == [*range(len(tasks))] else dict(tasks)
            for job, tasks in self._tasks.items()
        }

    def num_tasks(self, job_name: str) -> int:
        """Return the number of tasks of a job.

        Raises:
            ValueError: There is no such job.
        """
        return len(self._job(job_name))

    def task_indices(self, job_name: str) -> list[int]:
        """Return the numbers of a job's tasks."""
        return list(self._job(job_name))

    def task_address(self, job_name: str, task_index: int) -> str:
        """Return the address of a task.

        Raises:
            ValueError: There is no such job or task.
        """
        tasks = self._job(job_name)
        if task_index not in tasks:
            raise ValueError(f"job {job_name!r} has no task {task_index}: it has {list(tasks)}")
        return tasks[task_index]

    def job_tasks(self, job_name: str) -> list[str | None]:
        """Return the addresses of a job's tasks; None for a number without a task."""
        tasks = self._job(job_name)
        return [tasks.get(i) for i in range(max(tasks, default=-1) + 1)]

    def _job(self, name: str) -> dict[int, str]:
        if name not in self._tasks:
            raise ValueError(f"the cluster has no job {name!r}: its jobs are {self.jobs}")
        return self._tasks[name]

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClusterSpec) and self._tasks == other._tasks

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"ClusterSpec({self.as_dict()!r})"


class ClusterResolver:
    """`tf.distribute.cluster_resolver.ClusterResolver`: a cluster, and the task of this program."""

    task_type: str | None = None
    """The job of this program, such as "worker"."""

    task_id: int | None = None
    """The number of this program within its job."""

    rpc_layer: str | None = None
    environment = ""

    def cluster_spec(self) -> ClusterSpec:
        """Return the tasks of the cluster."""
        raise NotImplementedError

    def master(
        self, task_type: str | None = None, task_id: int | None = None, rpc_layer: Any = None
    ) -> str:
        """Return the address of a task, by default of this one; "" for a cluster without tasks."""
        job, number = task_type or self.task_type, self.task_id if task_id is None else task_id
        if not self.cluster_spec() or job is None or number is None:
            return ""
        return self.cluster_spec().task_address(job, number)

    @property
    def num_workers(self) -> int:
        """Return the number of tasks that run the program together: the chief and all workers.

        It is 1 for a cluster without tasks, and for an evaluator, which runs alone.
        """
        if self.task_type == EVALUATOR:
            return 1
        tasks = self.cluster_spec().as_dict()
        return sum(len(tasks.get(job, ())) for job in (CHIEF, WORKER)) or 1


class SimpleClusterResolver(ClusterResolver):
    """`tf.distribute.cluster_resolver.SimpleClusterResolver`: a cluster that the program describes.

    Args:
        cluster_spec: The tasks.
        task_type, task_id: The task of this program.
    """

    def __init__(
        self,
        cluster_spec: ClusterSpec,
        master: str = "",
        task_type: str | None = None,
        task_id: int | None = None,
        environment: str = "",
        num_accelerators: Any = None,
        rpc_layer: str | None = None,
    ) -> None:
        if not isinstance(cluster_spec, ClusterSpec):
            raise TypeError("cluster_spec must be a tf.train.ClusterSpec")
        self._spec = ClusterSpec(cluster_spec)
        self.task_type, self.task_id = task_type, task_id
        self.environment, self.rpc_layer = environment, rpc_layer

    def cluster_spec(self) -> ClusterSpec:
        """Return the tasks of the cluster."""
        return self._spec


class TFConfigClusterResolver(ClusterResolver):
    """`tf.distribute.cluster_resolver.TFConfigClusterResolver`: the cluster of TF_CONFIG.

    Args:
        task_type, task_id, rpc_layer, environment: These replace what TF_CONFIG says.
    Raises:
        ConfigError: TF_CONFIG is malformed.
    """

    def __init__(
        self,
        task_type: str | None = None,
        task_id: int | None = None,
        rpc_layer: str | None = None,
        environment: str | None = None,
    ) -> None:
        said = config_of_environment()
        task = said.get("task", {})
        self._spec = ClusterSpec(said.get("cluster", {}))
        self.task_type = task.get("type") if task_type is None else str(task_type)
        number = task.get("index") if task_id is None else task_id
        self.task_id = None if number is None else int(number)
        self.rpc_layer = rpc_layer or said.get("rpc_layer")
        self.environment = environment or said.get("environment", "")

    def cluster_spec(self) -> ClusterSpec:
        """Return the tasks of the cluster; no tasks if TF_CONFIG is not set."""
        return self._spec


def config_of(rank: int, count: int, *, has_chief: bool = False) -> str:
    """Return the TF_CONFIG of one of the workers of `varsim exec --spmd`.

    Args:
        has_chief: Whether the first of the workers is the only task of the job "chief", so that the
            tasks of the job "worker" begin at the second one.
    """
    cluster, (job, index) = _tasks(rank, count, has_chief=has_chief)
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


def resolver_of(rank: int, count: int, *, has_chief: bool = False) -> SimpleClusterResolver:
    """Return the resolver of one of the workers; it agrees with the worker's TF_CONFIG."""
    cluster, (job, index) = _tasks(rank, count, has_chief=has_chief)
    return SimpleClusterResolver(ClusterSpec(cluster), task_type=job, task_id=index)


def _tasks(
    rank: int, count: int, *, has_chief: bool
) -> tuple[dict[str, list[str]], tuple[str, int]]:
    """Return the names of all tasks by their jobs, and the task of one worker."""
    tasks = [(CHIEF, 0)] * has_chief + [(WORKER, i) for i in range(count - has_chief)]
    cluster: dict[str, list[str]] = {}
    for job, index in tasks:
        cluster.setdefault(job, []).append(f"{job}-{index}")
    return cluster, tasks[rank]


def rank_in(resolver: ClusterResolver) -> int | None:
    """Return which of the workers that run the program the program of a resolver is.

    Returns:
        A number from 0: the chief comes before the tasks of the job "worker", as in TensorFlow.
        None if the resolver names no task, or one of another job.
    """
    job, index = resolver.task_type, resolver.task_id
    if index is None or job not in {CHIEF, WORKER}:
        return None
    chiefs = resolver.cluster_spec().as_dict().get(CHIEF, ())
    return index + len(chiefs) * (job == WORKER)


def check_workers(resolver: ClusterResolver, rank: int, count: int) -> None:
    """Refuse a resolver that describes other workers than those that exist.

    Raises:
        ContextError: It describes another number of workers, or not the worker with this rank.
    """
    job, index = resolver.task_type, resolver.task_id
    problem = ""
    if job not in {None, CHIEF, WORKER}:
        problem = f"a task of the job {job!r}, but this is worker {rank} of {count}"
    elif resolver.num_workers != count:
        problem = f"{resolver.num_workers} workers, but varsim has started {count}"
    elif rank_in(resolver) not in {None, rank}:
        problem = (
            f"the task {index} of the job {job!r}, which is worker {rank_in(resolver)} of {count}, "
            f"but this is worker {rank}"
        )
    if problem:
        raise ContextError(
            f"MultiWorkerMirroredStrategy: the resolver describes {problem}. Without a resolver, "
            "the strategy describes the workers of varsim, as does TFConfigClusterResolver()"
        )


def has_chief() -> bool:
    """Return whether TF_CONFIG describes a cluster with the job "chief".

    Raises:
        ConfigError: TF_CONFIG is malformed.
    """
    return bool(config_of_environment().get("cluster", {}).get(CHIEF))


def config_of_environment() -> dict[str, Any]:
    """Return the content of TF_CONFIG; {} if it is not set or empty.

    Raises:
        ConfigError: It is malformed.
    """
    text = os.environ.get(TF_CONFIG, "").strip()
    if not text:
        return {}
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"TF_CONFIG is not JSON: {error}\n  Its form is {_FORM}") from None
    problem = _problem_with(said)
    if problem:
        raise ConfigError(f"TF_CONFIG is malformed: {problem}\n  Its form is {_FORM}")
    found: dict[str, Any] = said
    return found


def _problem_with(said: Any) -> str:
    """Return what is wrong with the content of TF_CONFIG; "" if it is well-formed."""
    if not isinstance(said, dict):
        return "it must be a dict"
    cluster, task = said.get("cluster", {}), said.get("task", {})
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        return '"cluster" and "task" must be dicts'
    for job, addresses in cluster.items():
        if not isinstance(addresses, list) or not all(isinstance(one, str) for one in addresses):
            return f'the job {job!r} of "cluster" must be a list of addresses'
    if not task:
        return ""
    job, index = task.get("type"), task.get("index")
    if not isinstance(job, str):
        return '"task" must have a "type", such as "worker"'
    if isinstance(index, bool) or not isinstance(index, int):
        return '"task" must have an "index", such as 0'
    if job == EVALUATOR and job not in cluster:
        return ""  # as in TensorFlow, where an evaluator is a cluster of its own
    if cluster and not 0 <= index < len(cluster.get(job, ())):
        return f'the "cluster" has no task {index} of the job {job!r}'
    return ""


def workers_of_tf_config() -> int | None:
    """Return how many workers TF_CONFIG describes, with the chief; None if it has no cluster.

    Raises:
        ConfigError: It is malformed, or describes a cluster that varsim cannot start.
    """
    said = config_of_environment()
    cluster, job = said.get("cluster", {}), said.get("task", {}).get("type")
    others = sorted(one for one in {*cluster, job} - {None, CHIEF, WORKER, EVALUATOR})
    if others:
        raise ConfigError(
            f"TF_CONFIG has the job {others[0]!r}, but `varsim exec --spmd` starts only the jobs "
            '"chief" and "worker". For parameter servers, run a program with a '
            "ParameterServerStrategy without --spmd"
        )
    if job == EVALUATOR:
        raise ConfigError(
            "TF_CONFIG describes the task of an evaluator, which runs alone, but "
            '`varsim exec --spmd` starts all tasks of the jobs "chief" and "worker". Run the '
            "evaluator's program without --spmd; or remove the task from TF_CONFIG"
        )
    if len(cluster.get(CHIEF, ())) > 1:
        raise ConfigError(
            f"TF_CONFIG has {len(cluster[CHIEF])} tasks of the job 'chief'; a cluster has at most "
            "one chief. Give the others the job 'worker'"
        )
    return _counted(cluster) if cluster else None


def _counted(cluster: Mapping[str, Sequence[str]]) -> int:
    count = sum(len(cluster.get(job, ())) for job in (CHIEF, WORKER))
    if not count:
        raise ConfigError("TF_CONFIG has a cluster without workers")
    return count


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names

    def __getattr__(name: str) -> NoReturn:
        raise MissingName("tf.distribute.cluster_resolver", name)
