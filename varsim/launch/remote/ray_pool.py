"""A Ray cluster that runs tasks for the program: each one is a module of varsim, on some node.

The program does not import Ray: the driver (`ray_driver.py`, `ray_tasks.py`) gives the tasks to it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from varsim.errors import StartError
from varsim.interrupts import MAX_WAIT_S
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.ray_connection import RayDriver, ensure_ray
from varsim.launch.remote.ray_launcher import RaySettings
from varsim.launch.remote.sent_environment import sent_environment

START_S: Final = 60.0
"""By default, the time limit for the connection to a Ray cluster, and for a look at its nodes."""


@dataclass(frozen=True, slots=True)
class TaskSettings(RaySettings):
    """Where tasks run: the settings of the launcher "ray" that they have, too."""

    @classmethod
    def setting_names(cls) -> list[str]:
        """Return the names of the settings."""
        return ["address", "resources_per_worker", "runtime_env", "start_timeout_s"]


@dataclass(frozen=True, slots=True)
class Task:
    """What runs on a node.

    Args:
        module: The module of varsim that a child process runs there; `ray_task.py` says how.
        text: One line for its stdin.
        num_workers: The number of replicas for which processors are reserved.
        file: Where the tar of its folder is written; there is none if it has no folder.
    """

    number: int
    module: str
    text: str
    num_workers: int
    file: Path


@dataclass(frozen=True, slots=True)
class Began:
    """A task has begun on a node."""

    number: int
    node: str


@dataclass(frozen=True, slots=True)
class Again:
    """A task waits for a place again: its process or its node has died."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended.

    Args:
        failed: Why there is no result: its process or its node has died again, or there is no
            place for it.
        reason: How the child has ended, with the end of its output.
        result: What the child has left; None if nothing.
        waited_s: How long the task waited for Ray while a node had a place, in seconds.
        took_s: The time from its begin to the arrival of its folder, in seconds.
    """

    number: int
    failed: str
    reason: str
    result: Any
    waited_s: float
    took_s: float


class RayPool:
    """Runs tasks on the nodes of a Ray cluster. All tasks end when it is closed."""

    def __init__(self, settings: TaskSettings, user: str) -> None:
        """Connect to the cluster, and look at all its nodes.

        Args:
            user: What needs Ray, for errors.
        Raises:
            ConfigError: Ray is not installed, or too old.
            StartError: Ray cannot be reached, or a node does not fit to this program.
        """
        ensure_ray(user)
        began_s = time.monotonic()
        self.nodes: Sequence[str] = ()
        """The names of the nodes, each a different one."""
        self._settings = settings
        timeout_s = START_S if settings.start_timeout_s is None else settings.start_timeout_s
        request = {
            "serves": "tasks",
            "address": settings.address,
            "runtime_env": dict(settings.runtime_env),
            "resources": dict(settings.resources_per_worker),
            "greeting": Greeting.of_this_host()._asdict(),
            "look_s": timeout_s,
        }
        self._driver = RayDriver(request, began_s + timeout_s)
        try:
            while not self.nodes:
                self._driver.wait(MAX_WAIT_S)
                for report in self._driver.reports():
                    if "ended" in report:
                        raise StartError(f"Ray {report['ended']}")
                    self.nodes = report["nodes"]
        except BaseException:
            self.close()
            raise
        self.start_s: Final = time.monotonic() - began_s
        """How long this took, in seconds."""

    def submit(self, task: Task) -> None:
        """Let a task run as soon as a node has a place for it."""
        reserved = self._settings.resources_per_worker
        self._driver.tell(
            {
                "number": task.number,
                "module": task.module,
                "text": task.text,
                "environment": sent_environment(),
                "resources": {name: one * task.num_workers for name, one in reserved.items()},
                "file": str(task.file.absolute()),
            }
        )

    def events(self) -> Sequence[Began | Again | Ended]:
        """Wait a short time; return what has happened since the last call.

        Raises:
            StartError: The driver has ended.
        """
        self._driver.wait(MAX_WAIT_S)
        return [_event(**report) for report in self._driver.reports()]

    def close(self) -> None:
        """End all tasks, on all nodes."""
        self._driver.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(
    task: int = -1,
    began: str = "",
    again: str = "",
    done: Mapping[str, Any] | None = None,
    ended: str = "",
) -> Began | Again | Ended:
    if ended:
        raise StartError(f"Ray {ended}")
    if done is not None:
        return Ended(task, **done)
    return Again(task, again) if again else Began(task, began)
