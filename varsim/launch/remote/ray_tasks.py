"""Serve tasks, in the driver of Ray: each runs a command on some node and sends its folder home.

The program sends a line for each task: its number, what to reserve, what to run, and the file for
the tar of its folder. The driver reports when a task begins, on which node, and how it has ended. A
task whose process or node has died is tried once more.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NoReturn, Protocol

from varsim.launch.remote.host_names import distinct_names
from varsim.launch.remote.ray_task import look, run_task
from varsim.launch.remote.ray_words import reserving, said_by
from varsim.private import private_opener

_LOOK_S: Final = 0.1
"""Longest time after which the driver sees a line of the program, or its end."""

_NODES_S: Final = 1.0
"""Time between two looks at the nodes with tasks: behind a cut, no error of a task arrives."""

_KEPT_PARTS: Final = 8  # of a folder in Ray's object store
_MOST_TRIES: Final = 2


class Program(Protocol):
    """The program that the driver serves."""

    stdin: int  # a descriptor

    @property
    def has_line(self) -> bool:
        """Return whether `request` returns a line at once, although `stdin` is not readable."""

    def report(self, **report: Any) -> None:
        """Write a report."""

    def fail(self, reason: str) -> NoReturn:
        """Report that nothing goes on, and end."""

    def request(self) -> dict[str, Any]:
        """Return the next line; end with the program."""


@dataclass(slots=True)
class _Task:
    """A task that has not ended."""

    line: Mapping[str, Any]  # of the program
    submitted_s: float
    tries: int = 1
    node: str = ""  # the id of the node where it runs; "" if it waits for a place
    began_s: float = 0.0
    node_began_s: float = 0.0  # the same time on the node's clock
    how: dict[str, Any] = field(default_factory=dict)  # how the child has ended
    file: IO[bytes] | None = None

    @property
    def number(self) -> int:
        """Return its number."""
        number: int = self.line["number"]
        return number


class TaskServer:
    """Serves the tasks of one program."""

    def __init__(self, program: Program, request: Mapping[str, Any]) -> None:
        self._program = program
        self._request = request
        self._names: dict[str, str] = {}  # node → its name
        self._ends_s: dict[str, list[float]] = {}  # node → when tasks ended, on its clock
        self._looked_s = 0.0  # when the nodes were looked at
        self._tasks: dict[Any, _Task] = {}  # the stream of its results → the task

    def run(self) -> None:
        """Look at all nodes, and then serve tasks until the program ends."""
        import ray

        self._look_at_nodes()
        while True:
            waits = 0.0 if self._tasks else None
            program = self._program
            if program.has_line or select.select([program.stdin], [], [], waits)[0]:
                self._begin(_Task(program.request(), time.monotonic()))
            if self._tasks:
                ready, _ = ray.wait([*self._tasks], num_returns=1, timeout=_LOOK_S)
                for stream in ready:
                    self._read(stream)
                self._look_for_dead_nodes()

    def _look_at_nodes(self) -> None:
        """Report all nodes; fail if one of them does not fit to the program."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [one for one in ray.nodes() if one["Alive"] and self._can_run(one)]
        nodes.sort(key=lambda one: one["NodeManagerAddress"])
        if not nodes:
            self._program.fail("has no node with processors")
        task = ray.remote(look)
        looks = [
            task.options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(one["NodeID"], soft=False),
            ).remote(self._request["greeting"])
            for one in nodes
        ]
        self._await(looks)
        addresses = [one["NodeManagerAddress"] for one in nodes]
        hosts = []
        for address, one in zip(addresses, looks, strict=True):
            try:
                found = ray.get(one, timeout=0)
            except Exception as error:  # whatever has prevented the task
                self._program.fail(f"cannot use node {address}: {said_by(error)}")
            name, process_id, unfit = found
            if unfit:
                self._program.fail(
                    f"cannot use node {address}: {unfit}. Install the same releases on all nodes"
                )
            hosts.append((name, address, process_id))
        names = distinct_names(hosts)
        self._names = {one["NodeID"]: name for one, name in zip(nodes, names, strict=True)}
        self._program.report(nodes=names)

    def _await(self, looks: Sequence[Any]) -> None:
        """Wait for all looks, as long as allowed; end with the program."""
        import ray

        until_s = time.monotonic() + self._request["look_s"]
        while looks and time.monotonic() < until_s:
            _, looks = ray.wait([*looks], num_returns=len(looks), timeout=_LOOK_S)
            # The program sends the first task only when it knows the nodes.
            if select.select([self._program.stdin], [], [], 0)[0]:
                raise SystemExit(0)

    def _look_for_dead_nodes(self) -> None:
        """Lose the tasks on nodes of which Ray says that they are dead."""
        import ray

        now_s = time.monotonic()
        if now_s < self._looked_s + _NODES_S:
            return
        self._looked_s = now_s
        alive = {one["NodeID"] for one in ray.nodes() if one["Alive"]}
        for stream, task in list(self._tasks.items()):
            if task.node and task.node not in alive:
                del self._tasks[stream]
                self._lost(task, f"{self._where(task)}: Ray says that the node is dead")

    def _can_run(self, node: Mapping[str, Any]) -> bool:
        has = node["Resources"]
        return all(has.get(name, 0) > 0 for name in self._request["resources"])

    def _fits(self, resources: Mapping[str, float]) -> bool:
        import ray

        nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
        return any(all(has.get(one, 0) >= n for one, n in resources.items()) for has in nodes)

    def _begin(self, task: _Task) -> None:
        """Give a task to Ray, unless no node is large enough."""
        import ray

        resources = task.line["resources"]
        if not self._fits(resources):
            needed = ", ".join(f"{count:g} {name}" for name, count in resources.items())
            self._end(
                task,
                f"no node of the Ray cluster has {needed}: reserve less for each "
                "worker (resources_per_worker), or start a larger node",
            )
            return
        remote = ray.remote(run_task).options(
            num_returns="streaming",
            max_retries=0,
            scheduling_strategy="SPREAD",
            _generator_backpressure_num_objects=_KEPT_PARTS,
            **reserving(resources),
        )
        line = task.line
        stream = remote.remote(
            self._request["greeting"], line["module"], line["text"], line["environment"]
        )
        self._tasks[stream] = task

    def _read(self, stream: Any) -> None:
        """Take the next result of a task, or its end."""
        import ray

        task = self._tasks[stream]
        try:
            result = ray.get(next(stream))
        except StopIteration:
            del self._tasks[stream]
            self._end(task)
        except ray.exceptions.RayTaskError as error:  # an error of varsim there
            del self._tasks[stream]
            self._end(task, f"{self._where(task)}: {said_by(error)}")
        except Exception as error:  # whatever has ended the process or the node
            del self._tasks[stream]
            self._lost(task, f"{self._where(task)}: {said_by(error)}")
        else:
            try:
                self._take(task, result)
            except OSError as error:  # of the file here
                del self._tasks[stream]
                self._end(task, f"{error.filename or task.line['file']}: {error.strerror}")

    def _take(self, task: _Task, result: Any) -> None:
        if isinstance(result, bytes):
            if task.file is None:
                path = Path(task.line["file"])
                task.file = open(path, "wb", opener=private_opener)  # noqa: SIM115  # Path has no opener
            task.file.write(result)
        elif "reason" in result:
            task.how = result
        elif "end_s" in result:
            self._ends_s.setdefault(task.node, []).append(result["end_s"])
        else:
            task.node, task.began_s = result["id"], time.monotonic()
            task.node_began_s = result["begin_s"]
            if task.node not in self._names:  # it has joined since the look at all nodes
                self._names[task.node] = f"{result['name']} ({result['address']})"
            if result["unfit"]:
                task.how = {"reason": f"does not fit to this program: {result['unfit']}"}
            self._program.report(task=task.number, began=self._names[task.node])

    def _waited_s(self, task: _Task) -> float:
        """Return how long a task waited for Ray, in seconds.

        It is the time since the last end of a task on its node, because the node may have had no
        place before; if none has ended there, it is the time since its own submission.
        """
        ends = [one for one in self._ends_s.get(task.node, []) if one <= task.node_began_s]
        return task.node_began_s - max(ends) if ends else task.began_s - task.submitted_s

    def _where(self, task: _Task) -> str:
        return f"node {self._names[task.node]}" if task.node else "before it began"

    def _lost(self, task: _Task, reason: str) -> None:
        """Try a task once more whose process or node has died."""
        self._close(task)
        if task.tries == _MOST_TRIES:
            self._end(task, f"{reason} (tried {_MOST_TRIES} times)")
            return
        self._program.report(task=task.number, again=reason)
        self._begin(_Task(task.line, time.monotonic(), task.tries + 1))

    def _end(self, task: _Task, failed: str = "") -> None:
        """Report the end of a task.

        Args:
            failed: Why there is no result; "" if the child has ended by itself.
        """
        self._close(task)
        self._program.report(
            task=task.number,
            done={
                "failed": failed,
                "reason": task.how.get("reason", ""),
                "result": json.loads(task.how.get("result") or "null"),
                "waited_s": self._waited_s(task),
                "took_s": time.monotonic() - task.began_s,
            },
        )

    def _close(self, task: _Task) -> None:
        if task.file is not None:
            task.file.close()
            task.file = None
