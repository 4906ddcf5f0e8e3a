"""A package `ray` for tests: each node is this host; actors and tasks are threads of the driver.

It has only what varsim's driver uses, so that tests of the driver and the agents do not need Ray.
tests/hosts has tests with Ray itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_INIT: Final = """
import os
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from types import SimpleNamespace
from ray import util

class ActorUnavailableError(Exception):
    pass

class RayTaskError(Exception):
    pass

class WorkerCrashedError(Exception):
    pass

exceptions = SimpleNamespace(ActorUnavailableError=ActorUnavailableError, RayTaskError=RayTaskError)
crashes = 0  # how many tasks are still to crash after their begin

def init(address, **options):
    global crashes, without_varsim
    without_varsim = address == "without-varsim:1"
    if address == "unreachable:1":
        raise ConnectionError("no cluster\\nthere")
    if address == "nobody:1":  # as Ray does itself
        print("Failed to connect to GCS", flush=True)
        os._exit(1)
    if address.startswith("crashes-"):
        crashes = int(address.partition("-")[2].partition(":")[0])

def nodes():
    return [
        {
            "Alive": True,
            "NodeID": name,
            "NodeManagerAddress": f"address-{name}",
            "Resources": {"CPU": 2.0},
        }
        for name in "ab"
    ]

def get_runtime_context():
    return SimpleNamespace(get_node_id=lambda: "a")

def wait(streams, num_returns, timeout):
    ready = [one.is_ready(timeout / len(streams)) for one in streams]
    return [[one for one, it in zip(streams, ready) if it is which] for which in (True, False)]

def cluster_resources():
    return {"CPU": 4.0}

def available_resources():
    return {"CPU": 1.0}

def get(result, timeout=None):
    return result.future().result(timeout)

class _Result:
    def __init__(self, future):
        self._future = future

    def future(self):
        return self._future

    def is_ready(self, timeout):
        wait_for([self._future], timeout)
        return self._future.done()

class _Method:
    def __init__(self, threads, function):
        self._threads, self._function = threads, function

    def remote(self, *arguments):
        return _Result(self._threads.submit(self._function, *arguments))

class _Actor:
    def __init__(self, kind):
        self._actor, self._threads = kind(), ThreadPoolExecutor(1)

    def __getattr__(self, name):
        return _Method(self._threads, getattr(self._actor, name))

class remote:
    def __init__(self, kind):
        self._kind = kind

    def options(self, scheduling_strategy, num_returns=1, **options):
        if isinstance(self._kind, type):
            del options["max_restarts"]
            assert options == {"num_cpus": 1 * scheduling_strategy.count}, options
        self._streams = num_returns == "streaming"
        return self

    def remote(self, *arguments):
        if isinstance(self._kind, type):
            return _Actor(self._kind)
        if self._streams:
            return _Stream(self._kind(*arguments))
        return _Result(ThreadPoolExecutor(1).submit(self._call, *arguments))

    def _call(self, *arguments):
        if without_varsim:
            raise RayTaskError("File x\\nModuleNotFoundError: No module named 'varsim'")
        return self._kind(*arguments)

class _Stream:
    def __init__(self, results):
        self._results, self._threads, self._count = results, ThreadPoolExecutor(1), 0
        self._ask()

    def _ask(self):
        self._next = self._threads.submit(next, self._results, self)

    def is_ready(self, timeout):
        wait_for([self._next], timeout)
        return self._next.done()

    def __next__(self):
        global crashes
        if self._next.exception() is None and self._next.result() is self:
            raise StopIteration
        result, self._count = _Result(self._next), self._count + 1
        if self._count == 2 and crashes:
            crashes -= 1
            failed = Future()
            failed.set_exception(WorkerCrashedError("the process has died"))
            self._results.close()
            return _Result(failed)
        if self._next.exception() is None:
            self._ask()
        return result
"""

_UTIL: Final = """
def get_node_ip_address():
    return "127.0.0.1"
"""

_GROUP: Final = """
class _Group:
    def __init__(self, bundles, strategy):
        self.bundles = bundles

    def wait(self, timeout_seconds):
        return sum(one["CPU"] for one in self.bundles) <= 4

def placement_group(bundles, strategy):
    return _Group(bundles, strategy)

def placement_group_table(group):
    return {"bundles_to_node_id": {i: "ab"[i % 2] for i in range(len(group.bundles))}}
"""

_STRATEGIES: Final = """
class PlacementGroupSchedulingStrategy:
    def __init__(self, group, placement_group_bundle_index):
        self.count = group.bundles[placement_group_bundle_index]["CPU"]

class NodeAffinitySchedulingStrategy:
    count = 0

    def __init__(self, node, soft):
        assert not soft
"""


def write_fake_ray(folder: Path) -> None:
    """Write the package `ray` into a folder."""
    util = folder / "ray" / "util"
    util.mkdir(parents=True)
    (folder / "ray" / "__init__.py").write_text(_INIT)
    (util / "__init__.py").write_text(_UTIL)
    (util / "placement_group.py").write_text(_GROUP)
    (util / "scheduling_strategies.py").write_text(_STRATEGIES)
