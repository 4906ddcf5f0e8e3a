"""Run the driver of Ray, as a child process of the program: for a cluster, or for tasks.

The program writes lines of JSON to its stdin. The first one says what the driver serves: agents,
with what to reserve, or tasks. The driver writes reports, also lines of JSON, into a pipe: the
address of this machine, and then what happens. It ends when its stdin is closed, so also when the
program is killed; then Ray ends the actors and tasks, and frees their places.

For agents, the second line says to which endpoint they connect, with the key; the driver reports
the share of each node, and each node that has ended. `ray_tasks.py` serves tasks.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, Final, NoReturn

from varsim.launch.remote.ray_words import bundles_text, reserving, said_by

_READ_BYTES: Final = 64 * 1024
_RANK: Final = Struct("I")  # in the driver's own pipe

_MOST_UNAVAILABLE: Final = 3
_PAUSE_S: Final = 0.5
"""If Ray cannot reach an actor, it may still run: its connection was cut, and varsim's link to the
agent may be there. So the driver asks this many times again, after pauses, and then reports it."""


class _Driver:
    """Serves one program."""

    def __init__(self, reports: int) -> None:
        self._reports = reports
        self.stdin = sys.stdin.fileno()
        self._read = b""  # of stdin, after the last line

    def report(self, **report: Any) -> None:
        """Write a report."""
        os.write(self._reports, json.dumps(report).encode() + b"\n")

    def fail(self, reason: str) -> NoReturn:
        """Report that no node is there, and end."""
        self.report(ended=reason)
        sys.exit(1)

    def run(self) -> None:
        """Connect, and serve until the program ends."""
        request = self.request()
        self._connect(request)
        if request["serves"] == "tasks":
            from varsim.launch.remote.ray_tasks import TaskServer

            TaskServer(self, request).run()
        else:
            start = self._start if request["bundles"] else self._start_everywhere
            self._observe(*start(request, self.request()))

    @property
    def has_line(self) -> bool:
        """Return whether a line of the program was read that `request` did not return yet."""
        return b"\n" in self._read

    def request(self) -> dict[str, Any]:
        """Return the next line of the program; end with the program."""
        while not self.has_line:
            chunk = os.read(self.stdin, _READ_BYTES)
            if not chunk:
                sys.exit(0)
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        request: dict[str, Any] = json.loads(line)
        return request

    def _connect(self, request: Mapping[str, Any]) -> None:
        import ray

        address = request["address"]
        options: dict[str, Any] = {}
        if address == "local":
            options = {"include_dashboard": False}
            if request.get("bundles"):
                options["num_cpus"] = sum(request["bundles"])
        try:
            ray.init(
                address=address,
                runtime_env=request["runtime_env"] or None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
        except Exception as error:  # Ray raises many kinds; the program has one error
            self.fail(f"cannot be reached at address {address!r}: {said_by(error)}")
        self.report(address=ray.util.get_node_ip_address())

    def _start(
        self, request: Mapping[str, Any], agents: Mapping[str, Any]
    ) -> tuple[list[Any], list[Any]]:
        """Reserve the places, and start an agent on each node; return the actors and results."""
        import ray
        from ray.util.placement_group import placement_group, placement_group_table
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        counts, resources = request["bundles"], request["resources"]
        bundles = [{name: one * count for name, one in resources.items()} for count in counts]
        group = placement_group(bundles, strategy=request["strategy"])
        if not group.wait(timeout_seconds=agents["reserve_s"]):
            free, all_ = ray.available_resources(), ray.cluster_resources()
            there = ", ".join(
                f"{free.get(one, 0):g} of {all_.get(one, 0):g} {one}" for one in resources
            )
            nodes = sum(one["Alive"] for one in ray.nodes())
            self.fail(
                f"has not reserved {bundles_text(bundles)} ({request['strategy']}) within "
                f"{agents['reserve_s']:.0f} s, a part of start_timeout_s: {there} are free on "
                f"{nodes} nodes. Start more nodes, reserve less (resources_per_worker), or wait "
                "longer (start_timeout_s)"
            )
        nodes_of = placement_group_table(group)["bundles_to_node_id"]
        first, shares = placed([nodes_of[index] for index in range(len(counts))], counts)
        addresses = {one["NodeID"]: one["NodeManagerAddress"] for one in ray.nodes()}
        self.report(shares=shares, names=[addresses.get(nodes_of[index], "") for index in first])
        places = [
            (PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index), index)
            for index in first
        ]
        return _actors(
            agents, [(strategy, reserving(bundles[index])) for strategy, index in places]
        )

    def _start_everywhere(
        self,
        request: Mapping[str, Any],  # noqa: ARG002  # as `_start`
        agents: Mapping[str, Any],
    ) -> tuple[list[Any], list[Any]]:
        """Start an agent on each node; return the actors and results."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [one for one in ray.nodes() if one["Alive"]]
        nodes.sort(key=lambda one: one["NodeManagerAddress"])
        self.report(
            shares=[1] * len(nodes),
            names=[one["NodeManagerAddress"] for one in nodes],
            free=ray.available_resources(),
            total=ray.cluster_resources(),
        )
        strategies = [NodeAffinitySchedulingStrategy(one["NodeID"], soft=False) for one in nodes]
        return _actors(agents, [(one, {"num_cpus": 0}) for one in strategies])

    def _observe(self, actors: Sequence[Any], results: Sequence[Any]) -> None:
        """Report each node whose agent or actor has ended, until the program closes stdin."""
        import ray

        ended, ends = os.pipe()
        awaited = dict(enumerate(results))
        unavailable: Counter[int] = Counter()
        again: set[int] = set()
        for rank, result in awaited.items():
            _await(result, ends, rank)
        while True:
            ready, _, _ = select.select([self.stdin, ended], [], [], _PAUSE_S if again else None)
            if self.stdin in ready:
                return
            for rank in again:  # the method waits in the actor until the agent has ended
                awaited[rank] = actors[rank].how_it_ended.remote()
                _await(awaited[rank], ends, rank)
            again.clear()
            for (rank,) in _RANK.iter_unpack(os.read(ended, _RANK.size) if ended in ready else b""):
                try:
                    reason = ray.get(awaited[rank])
                except ray.exceptions.ActorUnavailableError as error:
                    unavailable[rank] += 1
                    reason = f"has ended: {said_by(error)}"
                    if unavailable[rank] <= _MOST_UNAVAILABLE:
                        again.add(rank)
                        continue
                except Exception as error:  # whatever has ended the actor
                    reason = f"has ended: {said_by(error)}"
                self.report(rank=rank, ended=reason)


def _actors(
    agents: Mapping[str, Any], places: Sequence[tuple[Any, Mapping[str, Any]]]
) -> tuple[list[Any], list[Any]]:
    """Start an actor with an agent at each place; return the actors and results.

    Args:
        agents: The endpoint and the key.
        places: Ray's strategy for each actor, and what the actor reserves.
    """
    import ray

    from varsim.launch.remote.ray_agent import RayAgent

    actors, results = [], []
    for rank, (strategy, reserved) in enumerate(places):
        actor = ray.remote(RayAgent).options(
            scheduling_strategy=strategy, max_restarts=0, **reserved
        )
        actors.append(actor.remote())
        # The arguments of a method go from process to process; those of an actor are stored.
        results.append(actors[-1].run.remote(agents["endpoint"], agents["key"], rank))
    return actors, results


def _await(result: Any, descriptor: int, rank: int) -> None:
    """Write the rank into a pipe when Ray has the result; Ray does so in a thread of its own."""
    result.future().add_done_callback(lambda _: os.write(descriptor, _RANK.pack(rank)))


def placed(nodes: Sequence[str], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the first bundle and the number of replicas of each node, in the order of bundles.

    Args:
        nodes: The node of each bundle.
        counts: The number of replicas of each bundle.
    """
    shares: Counter[str] = Counter()
    first: dict[str, int] = {}
    for index, (node, count) in enumerate(zip(nodes, counts, strict=True)):
        first.setdefault(node, index)
        shares[node] += count
    return list(first.values()), [shares[node] for node in first]


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local cluster tells nobody
    _Driver(int(sys.argv[1])).run()
