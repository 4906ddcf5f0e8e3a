"""The launcher "ray" with a package that stands for Ray: its driver, its agents, and its errors."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.launch.remote.conftest import start_with
from tests.launch.remote.fake_ray import write_fake_ray
from tests.launch.worker_cluster import WorkerCluster
from tests.waiting import wait_for_exit
from varsim.errors import StartError
from varsim.launch.host_checks import State
from varsim.launch.remote import ray_connection
from varsim.launch.remote.host_checkup import check_hosts
from varsim.launch.remote.ray_launcher import RayLauncher

pytestmark = pytest.mark.processes

LaunchOnRay = Callable[..., WorkerCluster]


@pytest.fixture
def launch_on_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LaunchOnRay]:
    """Return a function that starts a cluster. The cluster is closed after the test."""
    write_fake_ray(tmp_path / "fake")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setattr(ray_connection, "version", lambda _: "2.50.0")
    with ExitStack() as stack:

        def start(num_replicas: int, settings: dict[str, Any], **options: Any) -> WorkerCluster:
            launcher = RayLauncher.from_settings(settings)
            return start_with(launcher, num_replicas, stack, **options)

        yield start


@pytest.mark.thorough
def test_each_node_has_an_agent_with_its_share(launch_on_ray: LaunchOnRay) -> None:
    cluster = launch_on_ray(3, {"hosts": 2})
    fork_servers = [cluster.evaluate(i, "os.getppid()") for i in range(3)]
    assert fork_servers[0] == fork_servers[1] != fork_servers[2]

    status = Path(f"/proc/{fork_servers[2]}/stat").read_text()
    os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)
    ((replica_id, lost),) = cluster.lost().items()
    assert 2 == replica_id
    assert lost.reason.endswith("which has ended: `varsim worker` was killed by SIGKILL")
    assert cluster.evaluate(1, "os.getpid()"), "the other node goes on"

    cluster.channel.close()
    for process in fork_servers:
        wait_for_exit(process)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"address": "unreachable:1"},
            "^Ray cannot be reached at address 'unreachable:1': ConnectionError: no cluster there",
        ),
        (
            {"address": "nobody:1"},
            r"^Ray cannot be reached at address 'nobody:1': `Ray's driver` exited with code 1:\n"
            r"  Failed to connect to GCS\nIs the address right",
        ),
        (
            {"resources_per_worker": {"CPU": 3}},
            r"has not reserved 2 × {CPU: 3} \(SPREAD\) within .*: 1 of 4 CPU are free on 2 nodes. "
            "Start more nodes",
        ),
    ],
)
def test_why_ray_starts_nothing_is_said(
    launch_on_ray: LaunchOnRay, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(StartError, match=said):
        launch_on_ray(2, settings)


@pytest.mark.thorough
def test_each_node_is_checked_without_a_reservation(launch_on_ray: LaunchOnRay) -> None:
    """Ray says what is free; the agents need nothing of it."""
    assert launch_on_ray is not None, "it provides the package"
    (room,), hosts = check_hosts(RayLauncher.from_settings({}), 2)

    assert (State.PROBLEM, "1 of 4 CPU free, and 2 workers reserve 2") == (room.state, room.found)
    assert 2 == len({name for name, _ in hosts})
    for _, checks in hosts:
        assert ["agent", "versions"] == [one.subject for one in checks[:2]]
        assert all(one.state is State.OK for one in checks[:4])
