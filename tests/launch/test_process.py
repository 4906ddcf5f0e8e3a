"""Worker processes: they start, have the program's environment, answer, and end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.effort import thorough
from tests.launch.conftest import Launch, private_folders
from tests.launch.programs import NoObjects
from tests.launch.worker_cluster import WAIT_S, WorkerCluster
from tests.waiting import MS, is_running, wait_for_exit
from varsim.errors import ConfigError, StartError
from varsim.launch.backends import launcher_of
from varsim.launch.host_needs import DOCTOR, MORE_PROCESSES
from varsim.launch.launcher import Backends, LaunchOptions
from varsim.launch.process import ProcessLauncher
from varsim.protocol.messages import Component, Fetch
from varsim.tracing.trace import TraceOptions
from varsim.tracing.trace_format import file_name

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_workers_answer(launch: Launch, transport: str) -> None:
    link = launch(2, transport=transport).channel

    for replica_id in range(2):
        link.send(replica_id, [Fetch(request_id=7, variable_id=replica_id)])

    answers: dict[int, Component] = {}
    while len(answers) < 2:
        for replica_id, message in link.receive(WAIT_S):
            assert isinstance(message, Component)
            answers[replica_id] = message
    assert [(0, [0, 0, 0]), (1, [1, 1, 1])] == [
        (answers[i].variable_id, list(answers[i].value)) for i in range(2)
    ]


def test_strangers_cannot_connect_over_tcp(launch: Launch) -> None:
    """Each connection of a stranger would need a descriptor of the program."""
    cluster = launch(1, transport="tcp")
    listener: Any = cluster.channel._listener
    host, port = listener._listener.endpoint.removeprefix("tcp://").split(":")

    with socket.socket() as stranger:
        stranger.settimeout(50 * MS)
        with pytest.raises(TimeoutError):
            stranger.connect((host, int(port)))
    assert "CPU:0" == cluster.evaluate(0, "link.devices[0]")


def test_receiving_ends_at_its_timeout(shared: WorkerCluster) -> None:
    assert [] == shared.channel.receive(1 * MS)
    assert [] == shared.channel.receive(0)


def test_a_worker_has_its_replica_and_device(shared: WorkerCluster) -> None:
    assert (7, 1, 2, ("CPU:0", "CPU:1")) == shared.evaluate(
        1, "(link.cluster_id, link.replica_id, link.num_replicas, link.devices)"
    )


def test_a_worker_has_the_programs_environment(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("SOME_SETTING", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "16")

    path, cwd, setting, threads = launch(1).evaluate(
        0, "sys.path, os.getcwd(), os.environ['SOME_SETTING'], os.environ['OMP_NUM_THREADS']"
    )

    assert (sys.path, str(tmp_path), "7", "1") == (path, cwd, setting, threads)


def test_functions_and_arrays_are_sent_both_ways(shared: WorkerCluster) -> None:
    double, array = shared.evaluate(0, "(lambda x: 2 * x, np.arange(3))")
    assert [0, 2, 4] == list(double(array))


def test_workers_draw_different_random_numbers(shared: WorkerCluster) -> None:
    shared.evaluate(0, "np.random.random()")
    first, second = (shared.evaluate(i, "np.random.random()") for i in range(2))
    assert first != second


def test_output_goes_to_the_log_and_to_the_coordinator(launch: Launch, tmp_path: Path) -> None:
    cluster = launch(1, log_dir=tmp_path / "logs")
    log = tmp_path / "logs" / "worker-0.log"

    assert "über\n" == cluster.evaluate(0, "print('über') or link.take_output()")
    assert "" == cluster.evaluate(0, "link.take_output()")

    assert "über\n" == log.read_text("utf-8")
    assert 0o600 == stat.S_IMODE(log.stat().st_mode)


def test_logs_stay_in_the_requested_folder(launch: Launch, tmp_path: Path) -> None:
    for word in ("one", "two"):
        cluster = launch(1, log_dir=tmp_path)
        cluster.evaluate(0, f"print('{word}')")
        cluster.channel.close()
    assert "one\ntwo\n" == (tmp_path / "worker-0.log").read_text()


def test_closing_leaves_no_process_and_no_directory(
    launch: Launch, private_temporary: Path
) -> None:
    before = private_folders(private_temporary)
    cluster = launch(2)
    processes = [cluster.evaluate(i, "os.getpid()") for i in range(2)] + [
        cluster.evaluate(0, "os.getppid()")
    ]
    assert all(map(is_running, processes))
    (directory,) = private_folders(private_temporary) - before
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)

    cluster.channel.close()
    cluster.channel.close()

    assert not any(map(is_running, processes))
    assert not directory.exists()
    assert [] == cluster.channel.receive(1)
    cluster.channel.send(0, [Fetch(request_id=1, variable_id=1)])


def test_a_dropped_link_leaves_no_process_and_no_directory(private_temporary: Path) -> None:
    before = private_folders(private_temporary)
    launcher = ProcessLauncher("tests.launch.programs:serve")
    options = LaunchOptions(7, ("CPU:0",))
    link = launcher.launch(options, NoObjects())
    assert 1 == len(private_folders(private_temporary) - before)
    del link
    assert before == private_folders(private_temporary)


def test_a_worker_that_does_not_end_is_killed(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("varsim.launch.process_channel.SHUTDOWN_TIMEOUT_S", 10 * MS)
    launch(1, "deaf").channel.close()


def test_processes_of_user_code_end_with_their_worker(launch: Launch) -> None:
    cluster = launch(1)
    child = cluster.evaluate(0, "__import__('subprocess').Popen(['sleep', '60']).pid")
    assert is_running(child)
    cluster.channel.close()
    wait_for_exit(child)


def test_ctrl_c_interrupts_only_the_program(shared: WorkerCluster) -> None:
    worker, fork_server = shared.evaluate(0, "(os.getpid(), os.getppid())")
    assert os.getpgid(0) != os.getpgid(worker)
    for process in (worker, fork_server):
        os.kill(process, signal.SIGINT)
    assert worker == shared.evaluate(0, "os.getpid()")


# ---------------------------------------------------------------- workers that do not start


def test_the_error_names_a_worker_that_does_not_become_ready(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "worker-1.log").mkdir()
    with pytest.raises(StartError) as caught:
        launch(2, log_dir=tmp_path)
    story = str(caught.value)
    assert "replica 1: worker exited with code 1, before it was ready" in story
    assert "Is a directory" in story
    assert "Traceback" not in story


def test_the_error_names_a_trace_that_cannot_be_opened(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / file_name(0)).mkdir()
    with pytest.raises(StartError) as caught:
        launch(1, trace=TraceOptions(tmp_path))
    story = str(caught.value)
    assert "its log or its trace cannot be opened: [Errno 17] File exists: " in story
    assert "Traceback" not in story


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("nowhere.to_be_found:serve", "No module named 'nowhere'"),
        thorough("tests.launch.programs:missing", "has no attribute 'missing'"),
    ],
)
def test_the_error_names_a_missing_entry_point(program: str, said: str) -> None:
    with pytest.raises(StartError, match=said):
        ProcessLauncher(program).launch(LaunchOptions(7, ("CPU:0",)), None)  # type: ignore[arg-type]


def test_workers_that_are_not_ready_in_time_are_an_error(launch: Launch) -> None:
    with pytest.raises(StartError, match="1 of 1 workers were not ready in time"):
        launch(1, start_timeout_s=0.0)


def test_the_error_for_no_free_descriptor_is_one_sentence(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("varsim.launch.host_needs.open_files", refuse)
    with pytest.raises(StartError) as caught:
        launch(1)
    assert f"cannot start workers: [Errno 24] Too many open files. {DOCTOR}" == str(caught.value)


def test_the_error_for_a_refused_process_is_one_sentence() -> None:
    """The launcher ends the workers that have already started."""
    with pytest.raises(StartError) as caught:
        ProcessLauncher("tests.launch.no_forks:serve").launch(
            LaunchOptions(7, ("a", "b", "c")), NoObjects()
        )
    assert (
        "the process that starts the workers exited with code 1; it printed:\n"
        "the system does not allow process 3 of 3 (Resource temporarily unavailable): "
        f"{MORE_PROCESSES}"
    ) == str(caught.value)


def test_the_error_names_a_missing_interpreter(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(StartError, match="cannot start /no/python"):
        launch(1)


def test_the_error_names_an_unwritable_log_folder(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"File exists|Not a directory"):
        launch(1, log_dir=tmp_path / "file" / "logs")


def test_an_unknown_transport_is_refused(launch: Launch) -> None:
    with pytest.raises(
        ConfigError, match="invalid transport 'pigeon': expected 'auto', 'ipc' or 'tcp'"
    ):
        launch(1, transport="pigeon")


def test_the_fork_server_explains_itself_when_started_by_hand() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "varsim_worker"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == process.returncode
    assert "see workers/README.md" in process.stderr


def test_a_strategy_uses_processes_by_default() -> None:
    assert isinstance(launcher_of(Backends()), ProcessLauncher)
