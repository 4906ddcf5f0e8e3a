"""Workers on the nodes of a Ray cluster, with real hosts: values, and what ends when."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import namespaces
from tests.hosts.ray_cluster import RayCluster
from tests.waiting import MS, wait_for, wait_for_exit

pytestmark = [pytest.mark.hosts, pytest.mark.processes, pytest.mark.timeout(180)]

START_S = 60_000 * MS  # for a cluster of Ray on a busy machine

PROGRAM = """
import hashlib, json, os, signal, sys
import numpy as np
import varsim as tf

count, launcher, log_dir = json.loads(sys.argv[1])
strategy = tf.distribute.MirroredStrategy(
    [f"cpu:{i}" for i in range(count)], launcher=launcher, log_dir=log_dir, seed=7
)
kinds = [("ON_WRITE", "MEAN"), ("ON_READ", "SUM"), ("ON_READ", "MEAN"), ("NONE", "NONE")]
with strategy.scope():
    variables = [
        tf.Variable(
            np.zeros(1000, np.float32), trainable=False,
            synchronization=tf.VariableSynchronization[synchronization],
            aggregation=tf.VariableAggregation[aggregation],
        )
        for synchronization, aggregation in kinds
    ]

def step():
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    drawn = np.random.default_rng([replica, 7]).standard_normal(1000).astype(np.float32)
    print("replica", replica, file=sys.stderr)  # its stdout is printed by the program, too
    for variable in variables:
        variable.assign_add(drawn / (3 + replica))
    return [variable.numpy().tobytes() for variable in variables]

def where():
    return os.getpid(), os.stat("/proc/self/ns/net").st_ino

for _ in range(3):
    seen = strategy.experimental_local_results(strategy.run(step))
places = strategy.experimental_local_results(strategy.run(where))
print(json.dumps([hashlib.sha256(repr(seen).encode()).hexdigest(), places]), flush=True)
if sys.stdin.readline():
    try:
        strategy.run(signal.pause)  # until a worker is lost
    except Exception as error:
        print(json.dumps(str(error)), flush=True)
strategy.close()
"""


class Program:
    """A running program with its workers."""

    def __init__(self, cluster: RayCluster, count: int, launcher: object, logs: Path) -> None:
        self.process = cluster.popen(
            [sys.executable, "-c", PROGRAM, json.dumps([count, launcher, str(logs)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.values, places = self.answer()
        self.workers, self.networks = zip(*places, strict=True)

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def block(self) -> None:
        """Let the program begin a call that blocks."""
        assert self.process.stdin is not None
        self.process.stdin.write("block\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.communicate()


def on_ray(cluster: RayCluster, **settings: object) -> dict[str, object]:
    return {"ray": {"address": cluster.address, **settings}}


def network_of(cluster: RayCluster, number: int) -> int:
    return (namespaces.FOLDER / cluster.lab.hosts[number].namespace).stat().st_ino


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_values_on_three_nodes_are_those_of_one_machine(
    cluster: RayCluster, tmp_path: Path
) -> None:
    """Replica ids are contiguous on each node, and the logs come home."""
    local = Program(cluster, 6, "process", tmp_path / "local")
    local.end()
    spread = Program(cluster, 6, on_ray(cluster), tmp_path / "logs")
    spread.end()

    assert local.values == spread.values
    assert 3 == len(set(spread.networks))
    pairs = [spread.networks[i : i + 2] for i in (0, 2, 4)]
    assert all(first == second for first, second in pairs)
    logs = [(tmp_path / "logs" / f"worker-{i}.log").read_text() for i in range(6)]
    assert [3 * f"replica {i}\n" for i in range(6)] == logs
    assert [] == left(cluster)


def test_the_doctor_checks_each_node(cluster: RayCluster) -> None:
    """The agents reserve nothing, and leave nothing."""
    launcher = ("--launcher", "ray", "--address", cluster.address)
    process = cluster.popen(
        [sys.executable, "-m", "varsim", "doctor", "--json", "-n", "7", *launcher],
        stdout=subprocess.PIPE,
        text=True,
    )
    said = json.loads(process.communicate()[0])

    assert 1 == process.returncode
    (room,) = [one for one in said["checks"] if one["subject"] == "resources of Ray"]
    assert ("problem", "6 of 6 CPU free, and 7 workers reserve 7") == (room["state"], room["found"])
    addresses = [one.address for one in cluster.lab.hosts]
    for host, address in zip(said["hosts"], addresses, strict=True):
        assert host["host"].endswith(f"({address})")
        states = {one["subject"]: one["state"] for one in host["checks"]}
        assert ["ok"] * 4 == [
            states[one] for one in ("agent", "versions", "port for workers", "clock offset")
        ]
    assert [] == left(cluster)


def test_a_killed_actor_is_a_lost_host(cluster: RayCluster, tmp_path: Path) -> None:
    program = Program(cluster, 3, on_ray(cluster, hosts=2), tmp_path)
    assert program.networks[0] == program.networks[1] != program.networks[2]
    agent = parent_of(parent_of(program.workers[2]))
    program.block()
    os.kill(parent_of(agent), signal.SIGKILL)

    assert "replica 2: worker was on host " in (said := str(program.answer()))
    # Either the agent itself says why it leaves, or Ray says first that its actor has died.
    assert "what started its agent has ended" in said or "ActorDiedError" in said
    wait_for_exit(program.workers[2])
    program.end()
    assert [] == left(cluster)


def test_all_ends_with_a_killed_program(cluster: RayCluster, tmp_path: Path) -> None:
    program = Program(cluster, 2, on_ray(cluster, hosts=2), tmp_path)
    program.process.kill()
    program.end()

    wait_for(lambda: [] == left(cluster), 10_000 * MS, what=lambda: f"the end of {left(cluster)}")


def test_a_killed_raylet_is_a_lost_host(doomed_cluster: RayCluster, tmp_path: Path) -> None:
    program = Program(doomed_cluster, 3, on_ray(doomed_cluster, hosts=3), tmp_path)
    lost = program.networks.index(network_of(doomed_cluster, 2))
    program.block()
    os.kill(doomed_cluster.raylet(2), signal.SIGKILL)

    # All nodes have this machine's host name, so the error has the address, too.
    name = f"{socket.gethostname()} ({doomed_cluster.lab.hosts[2].address})"
    assert f"replica {lost}: worker was on host {name}, which " in str(program.answer())
    wait_for_exit(program.workers[lost])
    program.end()
    assert [] == left(doomed_cluster)


def left(cluster: RayCluster) -> list[int]:
    """Return the processes of varsim on all hosts: those that run one of its modules.

    The path of a process of Ray can have the word varsim, too.
    """
    return [one for number in range(3) for one in cluster.processes(number, "-m\0varsim")]
