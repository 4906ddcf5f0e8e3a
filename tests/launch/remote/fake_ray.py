"""A package `ray` for tests: each node is this host, and an actor is a thread of the driver.

It has only what varsim's driver uses, so that tests of the driver and the agents do not need Ray.
tests/hosts has tests with Ray itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_INIT: Final = """
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from ray import util

class ActorUnavailableError(Exception):
    pass

exceptions = SimpleNamespace(ActorUnavailableError=ActorUnavailableError)

def init(address, **options):
    if address == "unreachable:1":
        raise ConnectionError("no cluster\\nthere")

def nodes():
    return [{"Alive": True}] * 2

def cluster_resources():
    return {"CPU": 4.0}

def available_resources():
    return {"CPU": 1.0}

def get(result):
    return result.future().result()

class _Result:
    def __init__(self, future):
        self._future = future

    def future(self):
        return self._future

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

    def options(self, scheduling_strategy, max_restarts, **resources):
        assert resources == {"num_cpus": 1 * scheduling_strategy.count}, resources
        return self

    def remote(self):
        return _Actor(self._kind)
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
"""


def write_fake_ray(folder: Path) -> None:
    """Write the package `ray` into a folder."""
    util = folder / "ray" / "util"
    util.mkdir(parents=True)
    (folder / "ray" / "__init__.py").write_text(_INIT)
    (util / "__init__.py").write_text(_UTIL)
    (util / "placement_group.py").write_text(_GROUP)
    (util / "scheduling_strategies.py").write_text(_STRATEGIES)
