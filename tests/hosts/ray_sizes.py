"""Measure what a cluster needs on the nodes of a Ray cluster on test hosts: time and memory.

    python -m tests.hosts.ray_sizes

It prints how long a start of 8 workers on 2 nodes takes, the memory of each kind of process (PSS:
shared pages count in parts), and the memory of actors of Ray that do nothing.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from tests.hosts.lab import Lab
from tests.hosts.namespaces import why_impossible
from tests.hosts.ray_cluster import ray_cluster, why_no_ray

_STARTS: Final = 5
_WORKERS: Final = 8

_MEMORY: Final = """
import os, sys, time

def pss_mb(process="self"):
    for line in open(f"/proc/{process}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024

def parent_of(process):
    return int(open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[1])

def chain():
    processes = [os.getpid()]
    for _ in range(3):
        processes.append(parent_of(processes[-1]))
    return [pss_mb(one) for one in processes]
"""

_CLUSTER: Final = (
    _MEMORY
    + """
import varsim as tf

launcher = {"ray": {"address": sys.argv[1], "hosts": 2, "resources_per_worker": {"CPU": 0.5}}}
devices = [f"cpu:{i}" for i in range(int(sys.argv[2]))]
strategy = tf.distribute.MirroredStrategy(devices, launcher=launcher)
began_s = time.monotonic()
strategy.run(lambda: None)
took_s = time.monotonic() - began_s
found = strategy.experimental_local_results(strategy.run(chain))
worker, fork_server, agent, actor = (max(one) for one in zip(*found))
strategy.close()
print(f"start {took_s:.1f} s; at most: worker {worker:.0f} MB, fork server {fork_server:.0f} MB, "
      f"agent {agent:.0f} MB, actor {actor:.0f} MB")
"""
)

_EMPTY: Final = (
    _MEMORY
    + """
import ray

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=0.5)
class Empty:
    def pss_mb(self):
        return pss_mb()

began_s = time.monotonic()
actors = [Empty.remote() for _ in range(int(sys.argv[2]))]
found = ray.get([one.pss_mb.remote() for one in actors])
took_s = time.monotonic() - began_s
print(f"{len(found)} actors that do nothing: start {took_s:.1f} s, at most {max(found):.0f} MB")
"""
)


def main() -> None:
    """Measure on three nodes."""
    if why := why_impossible() or why_no_ray():
        raise SystemExit(why)
    print(f"{_WORKERS} workers on 2 nodes of 3:")
    with Lab(3) as lab, ray_cluster(lab) as cluster:
        for program in (*[_CLUSTER] * _STARTS, _EMPTY):
            command = [sys.executable, "-c", program, cluster.address, str(_WORKERS)]
            process = cluster.popen(command, stdout=subprocess.PIPE, text=True)
            print(process.communicate()[0].strip(), flush=True)


if __name__ == "__main__":
    main()
