"""Sweeps whose points run on the nodes of a Ray cluster, with real hosts."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.namespaces import processes_inside
from tests.hosts.ray_cluster import RayCluster
from tests.hosts.runs_on_hosts import TIMEOUT_S, read
from tests.waiting import MS, is_running, wait_for

pytestmark = [pytest.mark.hosts, pytest.mark.processes, pytest.mark.timeout(180)]

PROGRAM = """
from pathlib import Path
import varsim as tf

def run(job, *, gate: str = "", rate: float = 1.0):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
    for number in range(100_000):
        job.strategy.run(lambda: v.assign_add(rate) and None)
        if not gate or Path(gate).exists():
            break
    print("the program has ended")
    return {"v": rate}
"""

LEAVE_S = 10_000 * MS
"""The time in which all processes on the hosts end after a sweep."""


Sweep = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """Return a function that starts `varsim sweep` on the host of the head of a cluster."""
    started: list[subprocess.Popen[str]] = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)

    def start(cluster: RayCluster, *words: str, spread: bool = True) -> subprocess.Popen[str]:
        over = ("--spread", "ray", "--address", cluster.address) if spread else ()
        process = cluster.popen(
            [sys.executable, "-m", "varsim", "sweep", *words, *over],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:  # of a test that has failed
        if process.poll() is None:
            process.kill()
            process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the output of a command."""
    output, _ = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, output


def points(out: str = "runs") -> list[dict[str, Any]]:
    file = Path(out, "latest-sweep/sweep.json")
    found: list[dict[str, Any]] = json.loads(file.read_text())["points"] if file.exists() else []
    return found


def running(count: int) -> Callable[[], bool]:
    """Return what says whether so many points have begun, with all workers."""

    def have_begun() -> bool:
        return count == sum(one["status"] == "running" for one in points())

    return have_begun


def processes(cluster: RayCluster, part: str) -> list[int]:
    return [one for number in range(3) for one in cluster.processes(number, part)]


def runs_of_points(cluster: RayCluster) -> list[int]:
    """Return the processes that run points: each is the child of a child of a process of Ray."""
    found = processes(cluster, "varsim.experiments.point_process")
    return [one for one in found if is_running(one) and parent_of(one) in found]


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def all_left(cluster: RayCluster) -> None:
    """Wait until no process of varsim, and none of its folders, is left on any host."""

    def left() -> list[object]:
        folders = [*Path(cluster.temporary).glob("varsim-*")]
        return [*processes(cluster, "-m\0varsim"), *folders]

    wait_for(lambda: not left(), LEAVE_S, what=lambda: f"the end of {left()}")


def test_points_on_three_nodes_have_the_values_of_a_local_sweep(
    cluster: RayCluster, sweep: Sweep
) -> None:
    """The folder of the sweep is that of a local one, and it says where its points ran."""
    words = ("workers=2", "steps=20", "mode=on_write,on_read,none")
    code, said = finished(sweep(cluster, *words, "out=spread"))
    assert 0 == code, said
    assert 0 == finished(sweep(cluster, *words, "out=local", spread=False))[0]

    spread, local = points("spread"), points("local")
    assert [(one["run"], one["status"]) for one in local] == [
        (one["run"], one["status"]) for one in spread
    ]
    for one in local:
        folders = [Path(out, "latest-sweep/points", one["run"]) for out in ("local", "spread")]
        here, there = map(read, folders)
        assert [] == here.differences(there)
        assert (
            str(folders[1].parent.resolve().relative_to(Path.cwd()))
            in (folders[1] / "summary.json").read_text()
        ), "its paths are those of this host"
        assert sorted(path.name for path in folders[0].rglob("*")) == sorted(
            path.name for path in folders[1].rglob("*")
        )
    assert 3 == len({one["node"] for one in spread})
    assert all(0 < one["overhead_s"] for one in spread)
    assert re.search(r"3 points on 3 nodes of Ray: .*\. Scheduling overhead per point: ", said)
    all_left(cluster)


def test_an_interrupted_sweep_leaves_nothing_and_goes_on(cluster: RayCluster, sweep: Sweep) -> None:
    words = ("program.py", "workers=2", "params.rate=1.0,2.0,3.0,4.0", "params.gate=gate")
    process = sweep(cluster, *words)
    wait_for(running(3), TIMEOUT_S, what="three points on three nodes")
    process.send_signal(signal.SIGINT)
    code, said = finished(process)

    assert 130 == code, said
    assert ["interrupted"] * 3 + ["waiting"] == [one["status"] for one in points()]
    all_left(cluster)

    Path("gate").touch()
    code, said = finished(sweep(cluster, "latest-sweep", "--trust", spread=False))
    assert 0 == code, said
    assert "4 points on " in said, "the sweep's file says that they are spread"
    assert ["done"] * 4 == [one["status"] for one in points()]
    all_left(cluster)


def test_all_ends_with_a_killed_program(cluster: RayCluster, sweep: Sweep) -> None:
    process = sweep(cluster, "program.py", "workers=2", "params.rate=1.0,2.0", "params.gate=gate")
    wait_for(running(2), TIMEOUT_S, what="two points")
    process.kill()
    process.communicate()

    all_left(cluster)


def test_a_point_that_is_killed_fails_and_one_without_its_task_runs_again(
    cluster: RayCluster, sweep: Sweep
) -> None:
    process = sweep(cluster, "program.py", "workers=2", "params.rate=1.0,2.0", "params.gate=gate")
    wait_for(running(2), TIMEOUT_S, what="two points")
    wait_for(lambda: 2 == len(runs_of_points(cluster)), TIMEOUT_S, what="their processes")
    killed, *_ = runs_of_points(cluster)
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: "failed" in [one["status"] for one in points()], TIMEOUT_S, what="its failure")
    (child,) = wait_for(lambda: runs_of_points(cluster), TIMEOUT_S, what="the other point")
    os.kill(parent_of(parent_of(child)), signal.SIGKILL)
    wait_for(lambda: not is_running(child), TIMEOUT_S, what="the end of the point")
    Path("gate").touch()
    code, said = finished(process)

    assert 1 == code, said
    (failed,) = [one for one in points() if one["status"] == "failed"]
    assert f"node {failed['node']}: has ended: `python -m " in failed["error"]
    assert "was killed by SIGKILL" in failed["error"]
    (other,) = [one for one in points() if one["status"] == "done"]
    assert re.search(rf"point {other['number']} runs again: node \S+ \(198\S+\): \w+", said), said
    all_left(cluster)


def test_nodes_with_another_version_are_one_error(cluster: RayCluster, sweep: Sweep) -> None:
    file = Path("other/varsim_distribute-0.0.9.dist-info/METADATA")
    file.parent.mkdir(parents=True)
    file.write_text("Metadata-Version: 2.1\nName: varsim-distribute\nVersion: 0.0.9\n")
    environment = {
        "env_vars": {"PYTHONPATH": str(file.parent.parent.absolute())},
        "py_executable": shlex.quote(sys.executable),  # see docs/ray.md: paths with blanks
    }
    ray = {"address": cluster.address, "runtime_env": environment}
    Path("sweep.yaml").write_text(json.dumps({"sweep": {"spread": {"ray": ray}, "seed": "0..3"}}))
    code, said = finished(sweep(cluster, "sweep.yaml", spread=False))

    assert 1 == code, said
    expected = (
        "spread: ray: Ray cannot use node 198.18.0.1: it has varsim 0.0.9, and the program has .*"
        "Install the same releases on all nodes"
    )
    assert re.search(expected, " ".join(said.split())), said
    assert ["waiting"] * 4 == [one["status"] for one in points()]


def test_points_of_a_lost_node_run_elsewhere(doomed_cluster: RayCluster, sweep: Sweep) -> None:
    words = ("program.py", "workers=2,8", "params.rate=1.0,2.0", "params.gate=gate")
    process = sweep(doomed_cluster, *words)
    wait_for(running(2), TIMEOUT_S, what="two points")
    wait_for(lambda: 2 == len(runs_of_points(doomed_cluster)), TIMEOUT_S, what="their processes")
    lost, number = next(
        (process, one.number)
        for one in doomed_cluster.lab.hosts[1:]  # the first one is the head
        for process in runs_of_points(doomed_cluster)
        if process in processes_inside(one.namespace)
    )
    os.kill(doomed_cluster.raylet(number), signal.SIGKILL)
    wait_for(lambda: not is_running(lost), TIMEOUT_S, what="the end of the point")
    Path("gate").touch()
    code, said = finished(process)

    assert 1 == code, said
    address = doomed_cluster.lab.hosts[number].address
    assert re.search(rf"point \d runs again: node \S+ \({address}\): ", said), said
    assert ["done", "done", "failed", "failed"] == [one["status"] for one in points()]
    assert not any(address in one["node"] for one in points())
    assert "no node of the Ray cluster has 8 CPU" in points()[2]["error"]
    all_left(doomed_cluster)
