"""Real processes send large values as references, and memory is reused."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.effort import thorough
from tests.launch.conftest import Launch, launching, private_folders
from tests.launch.worker_cluster import WAIT_S, WorkerCluster
from tests.waiting import MS, wait_for, wait_for_exit
from varsim.environment import SHARED_MEMORY
from varsim.errors import ConfigError, StartError, VarsimWarning
from varsim.exchange.shared import SLICE_BYTES, SharedCoordinator
from varsim.protocol.messages import HostCall, Reduced
from varsim.spec import Array, Operation, VariableAggregation
from varsim.sync import reduce
from varsim.sync.actions import COORDINATOR, Reduce
from varsim.sync.coordinator_events import ReductionDone
from varsim.transport.arena import Arena
from varsim.transport.folders import remove_leftovers
from varsim.transport.leases import TOLD_FROM_BYTES

pytestmark = pytest.mark.processes

MIB = 2**20
LARGE = MIB // 16
"""The number of elements of an array that is large enough for shared memory."""

SUM, MEAN = VariableAggregation.SUM, VariableAggregation.MEAN


def large(cluster: WorkerCluster, replica_id: int, value: float, size: int = LARGE) -> Array:
    """Make a worker send an array, and return the received array without a copy."""
    cluster.tell(replica_id, f"answer = np.full({size}, {value})")
    received: list[tuple[int, Any]] = []
    while not any(isinstance(message, HostCall) for _, message in received):
        received += cluster.channel.receive(WAIT_S)
    (question,) = [message.request for _, message in received if isinstance(message, HostCall)]
    (array,) = question.arrays
    return array


def arena_of(cluster: WorkerCluster) -> Arena | None:
    """Return the arena of a cluster; None if the cluster has no shared memory."""
    exchange = cluster.exchange
    return exchange.arena if isinstance(exchange, SharedCoordinator) else None


def used_bytes(cluster: WorkerCluster) -> int:
    """Return the total size of the blocks in the coordinator's region that are in use."""
    arena = arena_of(cluster)
    assert arena is not None
    arena.settle()
    return arena._held_bytes - sum(size * len(free) for size, free in arena._free.items())


def is_shared(cluster: WorkerCluster, array: Array) -> bool:
    arena = arena_of(cluster)
    return arena is not None and arena.reference_of(array) is not None


def send(cluster: WorkerCluster, *arrays: Array) -> None:
    """Send arrays to all workers; the programs of these tests do not read them."""
    for replica_id in range(cluster.channel.num_replicas):
        cluster.channel.send(replica_id, [Reduced(call_id=1, position=1, leaves=arrays)])


# ---------------------------------------------------------------- values in both directions


@pytest.mark.parametrize(
    ("exchange", "transport", "shared"),
    [
        ("auto", "ipc", True),
        thorough("shared", "ipc", True),
        ("star", "ipc", False),
        ("auto", "tcp", False),
    ],
)
def test_a_large_value_arrives(launch: Launch, exchange: str, transport: str, shared: bool) -> None:
    cluster = launch(1, exchange=exchange, transport=transport)
    array = large(cluster, 0, 2.5)

    assert shared is is_shared(cluster, array)
    assert (array == 2.5).all()
    assert not array.flags.writeable


def test_a_value_that_was_read_never_changes(shared: WorkerCluster) -> None:
    """The memory of the value belongs to the worker, which writes other values later."""
    kept = [large(shared, replica_id, replica_id + 10) for replica_id in (0, 1)]
    for value in range(5):
        assert (large(shared, value % 2, value) == value).all()

    assert [10, 10, 11, 11] == [number for array in kept for number in (array.min(), array.max())]


def test_memory_is_used_again_when_workers_have_released_it(launch: Launch) -> None:
    """A worker that releases much memory reports this at once, even if it sends nothing else."""
    cluster = launch(2, "hearing")
    value = np.zeros(MIB)

    def is_released() -> bool:
        cluster.channel.hear(0)  # a list of released blocks, or an acknowledgement of bytes
        return used_bytes(cluster) < TOLD_FROM_BYTES

    for _ in range(4 + 4 * TOLD_FROM_BYTES // value.nbytes):
        send(cluster, value)
        cluster.channel._exchange.end_round()
        wait_for(is_released)
    arena = arena_of(cluster)
    assert arena is not None
    assert arena._held_bytes <= TOLD_FROM_BYTES + value.nbytes


def test_memory_that_a_dead_worker_held_is_free(launch: Launch) -> None:
    cluster = launch(1, "keeping")
    send(cluster, np.zeros(MIB))
    assert 8 * MIB == used_bytes(cluster)

    cluster.tell(0, "os._exit(1)")
    cluster.lost()
    cluster.channel.receive(0)

    assert 0 == used_bytes(cluster)


# ---------------------------------------------------------------- no free shared memory


def test_if_shared_memory_is_full_values_are_sent_through_sockets(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED_MEMORY, str(MIB // 2))
    cluster = launch(1)
    array = large(cluster, 0, 2.5)
    large(cluster, 0, 3.5)

    assert (array == 2.5).all()
    assert not is_shared(cluster, array)
    said = cluster.host._logs.tail(0)
    assert "varsim: there is no room in shared memory for 524,288 bytes" in said
    assert f"{SHARED_MEMORY} sets how much memory a cluster may share" in said
    assert 1 == said.count("there is no room"), "one warning, however many values had no room"


def test_a_program_whose_shared_memory_is_full_is_warned_once(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED_MEMORY, "0")
    cluster = launch(1, "keeping")
    with pytest.warns(VarsimWarning, match="there is no room in shared memory") as warned:
        send(cluster, np.zeros(LARGE))
    send(cluster, np.zeros(LARGE))
    assert 1 == len(warned)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Make the system refuse files of more than a mebibyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_system_that_gives_no_memory_causes_a_warning(launch: Launch, small_files: None) -> None:
    with pytest.warns(
        VarsimWarning, match="does not use 'shared': shared memory is not available.*too large"
    ):
        cluster = launch(1)
    assert (large(cluster, 0, 2.5) == 2.5).all()
    assert "StarWorker" == cluster.evaluate(0, "type(link.exchange).__name__")


def test_requested_memory_that_is_not_available_is_an_error(
    launch: Launch, small_files: None
) -> None:
    with pytest.raises(StartError, match=r"shared memory is not available.*Use exchange='auto'"):
        launch(1, exchange="shared")


def test_a_limit_that_is_not_a_number_is_refused(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED_MEMORY, "plenty")
    with pytest.raises(ConfigError, match=f"{SHARED_MEMORY}='plenty'"):
        launch(1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"exchange": "chain"}, "exchange='chain' needs workers on other hosts"),
        (
            {"exchange": "fast"},
            "invalid exchange 'fast': expected 'auto', 'shared', 'chain' or 'star'",
        ),
        ({"exchange": "shared", "transport": "tcp"}, "use exchange='auto'"),
    ],
)
def test_an_unusable_exchange_is_refused(
    launch: Launch, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        launch(1, **options)


# ---------------------------------------------------------------- merges


def contributions(cluster: WorkerCluster, size: int) -> list[Array]:
    return [large(cluster, replica_id, replica_id + 0.1, size) for replica_id in (0, 1)]


def reduced(
    cluster: WorkerCluster,
    values: list[Array],
    aggregation: VariableAggregation,
    operation: Operation,
    mirror: Array | None,
    idle: list[int],
) -> Array:
    """Return the value of a reduction; leave other messages of workers in the inbox."""
    value = cluster.exchange.reduce(
        Reduce(7, values, aggregation, operation, mirror, idle), cluster.channel.now_s()
    )
    others: list[Any] = []
    while value is None:
        for sender, arrived in cluster.channel.receive(MS):
            if isinstance(arrived, ReductionDone):
                assert (COORDINATOR, 7) == (sender, arrived.token)
                value = arrived.value
            else:
                others.append((sender, arrived))
    cluster.channel._inbox += others
    return value


def check_merge(
    cluster: WorkerCluster, values: list[Array], operation: Operation, idle: list[int]
) -> bool:
    """Check that a merge equals `reduce.merge`. Return whether its value is in shared memory."""
    mirror = np.linspace(0.0, 1.0, values[0].size)
    expected = reduce.merge(values, MEAN, operation, mirror)

    got = reduced(cluster, values, MEAN, operation, mirror, idle)

    assert expected.tobytes() == got.tobytes()
    return is_shared(cluster, got)


@pytest.fixture(scope="module")
def helped() -> Iterator[WorkerCluster]:
    """Provide two workers that help with merges, as on a machine with two cores."""
    with pytest.MonkeyPatch.context() as patch, launching() as start:
        patch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        yield start()


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.parametrize("size", [1000, MIB // 2 + 1, MIB + 7])
def test_a_merge_has_the_same_value_with_the_help_of_workers(
    helped: WorkerCluster, size: int
) -> None:
    """Values of the first size are not in shared memory.

    One process merges values of the second size. Values of the third size are merged in two slices.
    """
    for operation in (Operation.ASSIGN, Operation.ASSIGN_SUB):
        shared = check_merge(helped, contributions(helped, size), operation, [0, 1])
        assert shared is (size > 1000), "the merge continued without a worker"
    assert [] == helped.channel.receive(0), "the channel returned messages about slices"


def test_other_messages_that_come_during_a_merge_are_received_later(helped: WorkerCluster) -> None:
    values = contributions(helped, 2 * SLICE_BYTES // 8)
    helped.tell(1, "answer = 7")
    wait_for(lambda: helped.channel._poller.poll(0))

    reduced(helped, values, SUM, Operation.ASSIGN, None, [0])

    ((replica_id, message),) = helped.channel.receive(0)
    assert isinstance(message, HostCall)
    assert (1, 7) == (replica_id, helped.codec.unpack(message.request))


def test_a_merge_needs_no_slice_of_a_dead_worker(
    launch: Launch, two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("varsim.exchange.shared.SLICE_TIMEOUT_S", 1e6)
    cluster = launch(3)
    values = contributions(cluster, MIB)
    cluster.tell(2, "os._exit(3)")  # before the worker can compute its slice

    check_merge(cluster, values, Operation.ASSIGN_ADD, [2])

    assert "exited with code 3" == cluster.lost()[2].reason


def test_a_merge_needs_no_slice_of_a_stopped_worker(
    launch: Launch, two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("varsim.exchange.shared.SLICE_TIMEOUT_S", 1 * MS)
    cluster = launch(3)
    values = contributions(cluster, MIB)
    stopped = cluster.evaluate(2, "os.getpid()")
    os.kill(stopped, signal.SIGSTOP)
    try:
        check_merge(cluster, values, Operation.ASSIGN_ADD, [2])
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert 2 == cluster.evaluate(2, "link.replica_id"), (
        "the late answer of the stopped worker was not ignored"
    )


# ---------------------------------------------------------------- after the end of processes

PROGRAM = """
import os
from tests.launch.conftest import WorkerCluster
from tests.launch.programs import NoObjects
from varsim.launch.launcher import LaunchOptions
from varsim.launch.process import ProcessLauncher

launcher = ProcessLauncher("tests.launch.programs:serve")
cluster = WorkerCluster(launcher.launch(LaunchOptions(7, ("CPU:0",)), NoObjects()))
kept = cluster.evaluate(0, "np.zeros(2**20)")
file = os.fstat(cluster.exchange.arena.descriptor)
worker, fork_server = cluster.evaluate(0, "os.getpid(), os.getppid()")
print(file.st_ino, worker, fork_server, flush=True)
"""


def holders(inode: int) -> set[int]:
    """Return the ids of the processes that have mapped the anonymous file with this inode."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            rows = [line.split() for line in (process / "maps").read_text().splitlines()]
            if any(row[4:6] == [str(inode), "/memfd:varsim"] for row in rows):
                found.add(int(process.name))
    return found


def test_when_all_processes_are_killed_no_shared_memory_is_left(private_temporary: Path) -> None:
    before = private_folders(private_temporary)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "input()"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    inode, worker, fork_server = map(int, process.stdout.readline().split())
    assert {process.pid, worker} <= holders(inode)

    for pid in (fork_server, process.pid, worker):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    wait_for_exit(worker)
    wait_for_exit(fork_server)

    assert not holders(inode)
    assert not list(Path("/dev/shm").glob("*varsim*"))
    # The killed fork server did not remove the private directory. The next start removes it.
    (left,) = private_folders(private_temporary) - before
    assert [left] == [one.path for one in remove_leftovers()]
    assert not left.exists()
