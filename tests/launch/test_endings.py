"""If a process ends, varsim reports this end or ends the other processes. Nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.effort import thorough
from tests.launch.conftest import Launch
from tests.launch.worker_cluster import WorkerCluster
from tests.waiting import MS, is_running, wait_for, wait_for_exit
from varsim.launch.logs import TAIL_LINES, tail

pytestmark = pytest.mark.processes


def lose(cluster: WorkerCluster, program: str) -> tuple[str, str]:
    """Run a program that ends replica 1, and return how the replica ended, and its output."""
    cluster.tell(1, program)
    (replica_id, lost), *_ = cluster.lost().items()
    assert 1 == replica_id
    assert "" == lost.log_path
    return lost.reason, lost.stderr_tail


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("program", "reason", "said"),
    [
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL", ""),
        ("os.kill(os.getpid(), 40)", "was killed by signal 40", ""),
        ("print('bye'); os._exit(3)", "exited with code 3", "bye"),
        ("sys.exit(4)", "exited with code 4", ""),
        ("sys.exit()", "exited with code 0", ""),
        ("sys.exit('enough')", "exited with code 1", "enough"),
    ],
)
def test_a_lost_worker_is_reported(launch: Launch, program: str, reason: str, said: str) -> None:
    assert (reason, said) == lose(launch(2), program)


def test_an_unexpected_exception_is_in_the_log(launch: Launch) -> None:
    reason, said = lose(launch(2), "1 / 0")
    assert "exited with code 1" == reason
    assert "ZeroDivisionError: division by zero" == said.splitlines()[-1]


def test_a_crash_in_native_code_leaves_a_traceback(launch: Launch) -> None:
    reason, said = lose(launch(2), "import ctypes; ctypes.string_at(0)")
    assert "was killed by SIGSEGV" == reason
    assert "Fatal Python error: Segmentation fault" in said


def test_a_long_log_is_kept_and_its_end_is_shown(launch: Launch) -> None:
    cluster = launch(1)
    cluster.tell(0, "print('line\\n' * 9999, 'last'); os._exit(1)")

    lost = cluster.lost()[0]

    assert [*["line"] * (TAIL_LINES - 1), " last"] == lost.stderr_tail.splitlines()
    cluster.channel.close()
    log = Path(lost.log_path)
    assert [*["line"] * 9999, " last"] == log.read_text().splitlines()
    log.unlink()


def test_a_requested_log_stays_in_its_place(launch: Launch, tmp_path: Path) -> None:
    cluster = launch(1, log_dir=tmp_path)
    cluster.tell(0, "print('bye'); os._exit(1)")
    lost = cluster.lost()[0]
    assert ("bye", str(tmp_path / "worker-0.log")) == (lost.stderr_tail, lost.log_path)


def test_a_loss_is_reported_once_and_the_others_continue(launch: Launch) -> None:
    cluster = launch(2)
    lose(cluster, "os._exit(1)")
    assert [] == cluster.channel.receive(10 * MS)
    cluster.tell(1, "1 / 0")  # replica 1 has ended
    assert 0 == cluster.evaluate(0, "link.replica_id")


def test_receiving_does_not_wait_if_all_workers_are_lost(launch: Launch) -> None:
    cluster = launch(1)
    cluster.tell(0, "os._exit(1)")
    cluster.lost()
    assert [] == cluster.channel.receive(1e6)


def test_when_the_fork_server_is_killed_all_workers_are_lost(launch: Launch) -> None:
    cluster = launch(2)
    workers = [cluster.evaluate(i, "os.getpid()") for i in range(2)]

    os.kill(cluster.evaluate(0, "os.getppid()"), signal.SIGKILL)

    losses = cluster.lost(2)
    assert {"ended, because the process that started it was killed by SIGKILL"} == {
        lost.reason for lost in losses.values()
    }
    for worker in workers:
        wait_for_exit(worker)


@pytest.mark.parametrize(
    "reaps",
    [pytest.param(False, marks=pytest.mark.thorough), True],
    ids=["ignored", "waited for"],
)
def test_a_program_may_take_the_exit_codes_of_all_its_children(launch: Launch, reaps: bool) -> None:
    """The program ignores SIGCHLD, or waits for all its children."""
    cluster = launch(1)
    fork_server = cluster.evaluate(0, "os.getppid()")
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL if reaps else signal.SIG_IGN)
    try:
        os.kill(fork_server, signal.SIGKILL)
        if reaps:
            os.waitpid(-1, 0)
        assert "and its exit code is unknown" in cluster.lost()[0].reason
        cluster.channel.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_process_with_a_reused_id_is_not_killed(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the program has waited for the fork server, another process may get the server's id."""
    fork_server = launch(1).host._fork_server
    killed: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda group, _: killed.append(group))
        fork_server.kill()
        assert [fork_server._process.pid] == killed
        patch.setattr(fork_server._process, "pid", os.getppid())  # not a child of this process
        fork_server.kill()
        assert 1 == len(killed)


def test_a_fork_of_the_program_does_not_delay_the_end(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork keeps the pipe open, so the fork server does not end when the program closes it."""
    monkeypatch.setattr("varsim.launch.fork_server._END_TIMEOUT_S", 1_000 * MS)
    cluster = launch(1)
    copy = os.fork()
    if not copy:
        signal.pause()
    try:
        cluster.channel.close()
        assert cluster.host._fork_server.ended
    finally:
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)


EARLY = """
import os
from tests.launch.programs import NoObjects
from varsim.launch import process
from varsim.launch.launcher import LaunchOptions

def end(*_):
    os.kill(os.getpid(), 9)

{patch}
process.ProcessLauncher("tests.launch.programs:serve").launch(
    LaunchOptions(7, ("CPU:0",)), NoObjects()
)
"""


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param("process.remove_leftovers = end", marks=pytest.mark.thorough),
        pytest.param("process.ForkServer.fork_workers = end", marks=pytest.mark.slow),
        # A fork of the program holds the pipe, so the pipe stays open when the program ends.
        "process.remove_leftovers = lambda: os.fork() and end() or (os.close(2), os.read(0, 1))",
    ],
    ids=["directory", "listener", "fork"],
)
def test_a_program_that_is_killed_early_leaves_no_directory(
    patch: str, private_temporary: Path
) -> None:
    """The fork server already waits for the program's end when the directory is created."""
    with subprocess.Popen(
        [sys.executable, "-c", EARLY.format(patch=patch)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert -9 == process.wait()
        assert process.stderr is not None
        assert b"" == process.stderr.read()
        wait_for(lambda: [] == list(private_temporary.glob("varsim-*")))


def test_closed_standard_streams_are_not_given_to_sockets(tmp_path: Path) -> None:
    """If a socket had the number of such a stream, printed text would go into the socket."""
    program = """
import os, sys
from pathlib import Path
for descriptor in range(3):
    os.close(descriptor)
""" + PROGRAM.replace("print(worker, fork_server, child, flush=True)", "os.kill(child, 9)")
    program += (
        "Path('streams').write_text(repr([os.readlink(f'/proc/self/fd/{i}') for i in (0, 1, 2)]))"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        check=True,
    )
    assert repr(["/dev/null"] * 3) == (tmp_path / "streams").read_text()


PROGRAM = """
import subprocess, sys
from tests.launch.worker_cluster import WorkerCluster
from tests.launch.programs import NoObjects
from varsim.launch.launcher import LaunchOptions
from varsim.launch.process import ProcessLauncher

launcher = ProcessLauncher("tests.launch.programs:serve")
link = launcher.launch(LaunchOptions(7, ("CPU:0", "CPU:1")), NoObjects())
cluster = WorkerCluster(link)
worker, fork_server = cluster.evaluate(1, "os.getpid(), os.getppid()")
child = cluster.evaluate(0, "__import__('subprocess').Popen(['sleep', '60']).pid")
print(worker, fork_server, child, flush=True)
"""
"""Like many programs of beginners, this program has no `if __name__ == "__main__"`."""


@pytest.mark.parametrize(
    "ending",
    [
        thorough("import os; os.kill(os.getpid(), 9)"),
        thorough("import os; os.kill(os.getpid(), 15)"),
        thorough("import os; os._exit(0)"),
        thorough("1 / 0"),
        "",
        # A fork lives longer than the program, and keeps the program's pipes open.
        """
import os, signal
copy = os.fork()
if copy:
    print(copy, flush=True)
    os.kill(os.getpid(), 9)
os.close(1)  # the test reads this output to its end
signal.pause()
""",
    ],
    ids=["SIGKILL", "SIGTERM", "os._exit", "exception", "end", "SIGKILL after a fork"],
)
def test_when_the_program_ends_all_its_processes_end(ending: str, private_temporary: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM + ending],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )

    worker, fork_server, child, *copies = map(int, process.stdout.split())
    for pid in (worker, fork_server, child):
        wait_for_exit(pid)
        assert not is_running(pid)
    assert [] == list(private_temporary.glob("varsim-*"))
    for copy in copies:
        os.kill(copy, signal.SIGKILL)


def test_a_fork_of_the_program_does_not_end_its_workers(launch: Launch) -> None:
    cluster = launch(1)
    copy = os.fork()
    if not copy:
        cluster.channel._finalizer()  # type: ignore[misc]
        os._exit(0)
    os.waitpid(copy, 0)
    assert 0 == cluster.evaluate(0, "link.replica_id")


def test_escapes_at_the_end_of_a_log_are_made_visible(tmp_path: Path) -> None:
    """A worker's output may contain escapes, and a terminal shows this output in an error."""
    log = tmp_path / "worker-0.log"
    log.write_bytes(b"fine\r\n\x1b[2Jhidden\x9b\n")

    assert "fine\n\\x1b[2Jhidden\ufffd" == tail(log)
