"""Workers of several hosts: each host observes and ends its own, and sends their files home."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.launch.remote.conftest import LaunchOnHosts, start_with
from tests.launch.worker_cluster import WorkerCluster
from tests.waiting import MS, is_running, wait_for, wait_for_exit
from varsim.errors import ConfigError, StartError
from varsim.launch.launcher import Backends
from varsim.launch.remote import host_launcher
from varsim.launch.remote.remote_hosts import RemoteHosts
from varsim.launch.remote.settings import HostSettings
from varsim.launch.remote.ssh import SshLauncher
from varsim.tracing.host_clocks import read_hosts
from varsim.tracing.host_traffic import HostTraffic
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import file_name

pytestmark = pytest.mark.processes


def traffic_of(cluster: WorkerCluster) -> HostTraffic:
    """Return what was sent until now."""
    assert cluster.traffic is not None
    found = cluster.traffic()
    assert found is not None
    return found


def agent_of(cluster: WorkerCluster, replica_id: int) -> int:
    """Return the process id of the agent of a replica: its fork server is the agent's child."""
    fork_server = cluster.evaluate(replica_id, "os.getppid()")
    status = Path(f"/proc/{fork_server}/stat").read_text()
    return int(status.rpartition(")")[2].split()[1])


def test_a_cluster_on_two_hosts(
    launch_on_hosts: LaunchOnHosts,
    tmp_path: Path,
    private_temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Replica ids are contiguous on each host; at the end, the files come home."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    logs, traces = tmp_path / "logs", tmp_path / "traces"
    cluster = launch_on_hosts(3, log_dir=logs, trace=TraceOptions(traces))
    fork_servers = [cluster.evaluate(i, "os.getppid()") for i in range(3)]
    agents = {agent_of(cluster, i) for i in (0, 2)}
    cluster.evaluate(2, "print('from the other host')")

    assert "Haswell" == cluster.evaluate(2, "__import__('os').environ.get('OPENBLAS_CORETYPE')")
    assert fork_servers[0] == fork_servers[1] != fork_servers[2]
    assert 2 == len(agents)
    before = traffic_of(cluster)
    array = cluster.evaluate(1, "np.arange(300_000)")
    assert 299_999 == array[-1], "a large value crosses the link whole"
    after = traffic_of(cluster)

    cluster.channel.close()

    for process in (*fork_servers, *agents):
        wait_for_exit(process)
    assert "from the other host\n" == (logs / "worker-2.log").read_text()
    assert [True] * 3 == [(traces / file_name(i)).stat().st_size > 0 for i in range(3)]
    assert ["host0", "host1"] == after.program_on, "both agents are on this machine"
    assert (0, "") == (after.bytes_between, after.uncounted)
    first, second = (
        (new.messages - old.messages, new.size_bytes - old.size_bytes)
        for old, new in zip(before.links, after.links, strict=True)
    )
    assert (2, True, (0, 0)) == (first[0], first[1] > array.nbytes, second)
    kept = read_hosts(traces)
    assert [("CPU:0", "CPU:1"), ("CPU:2",)] == [one.devices for one in kept.hosts]
    assert traffic_of(cluster) == kept.traffic(), "also what was sent to end the workers"
    wait_for(lambda: [] == list(private_temporary.glob("varsim-*")))


def test_each_host_observes_and_ends_its_workers(launch_on_hosts: LaunchOnHosts) -> None:
    cluster = launch_on_hosts(2)
    processes = [cluster.evaluate(i, "os.getpid()") for i in range(2)]
    cluster.tell(1, "print('before the loop'); exec('while True: pass')")

    def place() -> str | None:
        return cluster.channel.where(1)

    wait_for(place)
    seen = cluster.channel.examine([0, 1], [1])
    assert processes == [seen[i].process_id for i in range(2)]
    assert () == seen[0].stack
    assert any("in <module>" in frame for frame in seen[1].stack)

    lost = cluster.channel.end(1, "made no progress")
    assert lost is not None
    assert ("made no progress", "before the loop") == (lost.reason, lost.stderr_tail)
    wait_for_exit(processes[1])
    assert processes[0] == cluster.evaluate(0, "os.getpid()")


def test_a_killed_worker_and_a_killed_host_are_reported(
    launch_on_hosts: LaunchOnHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = launch_on_hosts(3, names=("here", "here"))  # as containers that are named alike
    process = cluster.evaluate(0, "print('last words') or os.getpid()")
    os.kill(process, signal.SIGKILL)
    ((replica_id, lost),) = cluster.lost().items()
    assert (0, "was killed by SIGKILL", "last words") == (
        replica_id,
        lost.reason,
        lost.stderr_tail,
    )

    process = cluster.evaluate(2, "os.getpid()")
    os.kill(agent := agent_of(cluster, 2), signal.SIGKILL)
    ((replica_id, lost),) = cluster.lost().items()
    assert 2 == replica_id
    assert lost.reason == (
        f"was on host here (127.0.0.1, process {agent}), which has ended: `ssh` was killed by "
        "SIGKILL"
    )
    wait_for(lambda: not is_running(process))
    assert cluster.evaluate(1, "os.getpid()"), "the other host goes on"

    hosts, looks = cluster.channel._hosts, []
    assert isinstance(hosts, RemoteHosts)
    exits = hosts.exits

    def counted() -> list[tuple[int, str]]:
        looks.append(1)
        return exits()

    monkeypatch.setattr(hosts, "exits", counted)
    assert [] == cluster.channel.receive(100 * MS)
    assert len(looks) < 20, "the output of the ended command does not end each wait"
    monkeypatch.undo()

    os.kill(agent_of(cluster, 1), signal.SIGKILL)
    wait_for(lambda: (hosts.hear(MS), hosts.all_ended)[1], what="its end, as an exchange hears it")


@pytest.mark.parametrize(
    ("ssh", "said"),
    [
        (
            "echo 'Connection refused' >&2; exit 255",
            " has ended: `ssh` exited with code 255:\n  Connection refused\n`varsim doctor "
            "--launcher ssh`, with the same settings, checks each host",
        ),
        ("exec cat", "0 of 2 hosts have joined tcp://127.0.0.1:"),
        ("exec cat", "within 0.5 s (start_timeout_s), 0 of 2 hosts have joined "),
        ("exec cat", ": none; not host0, host1. Each host must be able to connect to "),
        ("exec cat", " this address (listen). `varsim doctor --launcher ssh`, with the same "),
    ],
)
def test_a_host_that_does_not_join_is_named(
    launch_on_hosts: LaunchOnHosts, commands: Path, ssh: str, said: str
) -> None:
    (commands / "ssh").write_text(f"#!/bin/sh\n{ssh}\n")
    with pytest.raises(StartError) as caught:
        launch_on_hosts(2, start_timeout_s=0.5)
    assert said in str(caught.value)


def test_a_long_start_says_for_which_hosts_it_waits(
    launch_on_hosts: LaunchOnHosts,
    commands: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (commands / "ssh").write_text("#!/bin/sh\nexec cat\n")
    monkeypatch.setattr(host_launcher, "TELL_S", 0.1)
    with pytest.raises(StartError):
        launch_on_hosts(2, start_timeout_s=0.5)
    said = capsys.readouterr().err
    assert 1 == said.count("varsim: 0 of 2 hosts have joined tcp://127.0.0.1:")
    assert ": none; not host0, host1; waiting, at most 0.5 s in all (start_timeout_s)" in said


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("203.0.113.1:7000", "Cannot assign requested address"),
        ("127.0.0.1:{port}", "Address already in use"),
    ],
)
def test_where_this_machine_cannot_listen_the_setting_is_named(listen: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        named = listen.format(port=server.getsockname()[1])
        launcher = SshLauncher(HostSettings(("host0",), listen=named))
        with pytest.raises(StartError, match=f"tcp://{named}: {said}. In listen, name an address"):
            start_with(launcher, 1, stack)


def test_a_worker_that_does_not_start_is_named_with_its_output(
    launch_on_hosts: LaunchOnHosts,
) -> None:
    with pytest.raises(StartError) as caught:
        launch_on_hosts(2, entry_point="tests.launch.programs:no_such_function")
    assert "no_such_function" in str(caught.value)


def test_more_hosts_than_workers_and_shared_memory_are_refused(
    launch_on_hosts: LaunchOnHosts,
) -> None:
    with pytest.raises(ConfigError, match="1 worker on 2 hosts"):
        launch_on_hosts(1)
    with pytest.raises(ConfigError, match="exchange='shared' needs"):
        launch_on_hosts(2, backends=Backends(exchange="shared"))
