"""After every kind of end of the program, its workers end and its private files are removed."""

from __future__ import annotations

import _thread
import operator
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.processes import replicas
from tests.processes.conftest import environment
from tests.processes.replicas import SHORT_S, take_long
from tests.waiting import MS, is_running, wait_for, wait_for_exit

pytestmark = pytest.mark.processes

END_S = 2_000 * MS
"""The program and all processes that it started must end within this time."""

PROGRAM = """
import os, sys
import varsim as tf
from tests.processes.replicas import all_reduce, merge_call, take_long
from tests.replica_context import replica_id

strategy = tf.distribute.MirroredStrategy(["a", "b"])
print(*strategy.experimental_local_results(strategy.run(os.getpid)))

def say():
    with open(os.environ["READY"], "a") as file:
        file.write("x")

def busy():
    say()
    take_long()

def one_busy():
    if replica_id() == 0:
        say()
        take_long()
    all_reduce("SUM", 1.0)

def merging():
    def merge(strategy):
        say()
        take_long()
    merge_call(merge)

"""


@pytest.fixture(autouse=True)
def own_temporary(private_temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the programs of these tests a folder for temporary files that no other cluster uses."""
    folder = private_temporary / "own"
    folder.mkdir()
    tempfile.gettempdir()  # this process keeps its own folder
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    folder.rmdir()


def private_directories() -> list[Path]:
    return list(Path(os.environ["TMPDIR"]).glob("varsim-*"))


FORKS_ON_PURPOSE = "ignore:This process:DeprecationWarning"
"""Python 3.12 and later warn about a fork in a process with threads, such as those of ZeroMQ."""


@contextmanager
def running(program: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Provide a program that is in `strategy.run`, and the process ids of its workers."""
    handle, name = tempfile.mkstemp()
    os.close(handle)
    ready = Path(name)
    process = subprocess.Popen(
        [sys.executable, "-W", FORKS_ON_PURPOSE, "-c", PROGRAM + program],
        env=environment() | {"READY": name},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        workers = list(map(int, process.stdout.readline().split()))
        wait_for(lambda: ready.stat().st_size, 5_000 * MS)
        yield process, workers
    finally:
        process.kill()
        process.communicate()
        ready.unlink()


def ends_with(process: subprocess.Popen[str], workers: list[int], signal_number: int) -> str:
    """End the program by a signal, and return its stderr."""
    started_s = time.monotonic()
    process.send_signal(signal_number)
    _, said = process.communicate(timeout=10_000 * MS)
    for worker in workers:
        wait_for_exit(worker)
    wait_for(lambda: not private_directories(), what=lambda: str(private_directories()))
    took_s = time.monotonic() - started_s
    assert took_s < END_S, f"took {took_s:.3g} s"
    assert not any(map(is_running, workers))
    assert -signal_number == process.returncode
    return said


NOTES = {
    "busy": r"was interrupted:\n(  replicas? .*: runs?(, now at .*:\d+)?\n)+",
    "one_busy": r"\n  replica 0: runs(, now at .*:\d+)?\n"
    r"  replica 1: (waits in all_reduce\(|runs(, now at .*:\d+)?$)",
    "merging": r"was interrupted:\n  replicas 0, 1: wait in merge_call at .*replicas\.py:\d+$",
}
"""What the interrupt says about the replicas. The line of a busy process can be missing. A replica
whose `all_reduce` has not arrived yet still runs."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "step",
    [
        pytest.param("busy"),
        pytest.param("one_busy"),
        "merging",
    ],
)
def test_ctrl_c_ends_the_program_and_its_workers(step: str) -> None:
    with running(f"strategy.run({step})") as (process, workers):
        said = ends_with(process, workers, signal.SIGINT)
    assert "KeyboardInterrupt" in said.splitlines()
    assert re.search(NOTES[step], said, re.MULTILINE), said
    assert 1 == said.count("Traceback")
    assert [] == private_directories()


@pytest.mark.parametrize(
    "signal_number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)]
)
def test_the_workers_of_a_killed_program_end(signal_number: int) -> None:
    with running("strategy.run(one_busy)") as (process, workers):
        ends_with(process, workers, signal_number)
    assert [] == private_directories()


CAUGHT = """
try:
    strategy.run(merging)
except KeyboardInterrupt:
    print("caught", strategy.run(lambda: int(all_reduce("SUM", 1))))
"""


@pytest.mark.thorough
def test_a_program_that_catches_ctrl_c_can_continue() -> None:
    """An interactive interpreter or a notebook catches Ctrl-C in this way."""
    with running(CAUGHT) as (process, _):
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10_000 * MS)
    assert (0, "caught 2\n", "") == (process.returncode, out, said)


def test_a_ctrl_c_before_a_wait_does_not_prolong_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal comes just before `select` waits, so Python handles it only after the wait."""

    def interrupted(*arguments: object) -> None:
        wait = partial(select.select, *arguments)
        deque(map(operator.call, (_thread.interrupt_main, wait)))

    waits = SimpleNamespace(select=interrupted)
    monkeypatch.setattr(replicas, "select", waits)
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        take_long()
    assert SHORT_S <= time.monotonic() - began_s < END_S


FORKED = """
copy = os.fork()
if not copy:
    sys.exit(0)
_, status = os.waitpid(copy, 0)
say()
print(status, strategy.run(lambda: int(all_reduce("SUM", 1))))
"""


@pytest.mark.thorough
def test_a_fork_of_the_program_leaves_the_cluster_intact() -> None:
    with running(FORKED) as (process, _):
        started_s = time.monotonic()
        out, said = process.communicate(timeout=10_000 * MS)
    assert (0, "0 2\n", "") == (process.returncode, out, said)
    took_s = time.monotonic() - started_s
    assert took_s < END_S, f"took {took_s:.3g} s"


USED_IN_A_COPY = f"""
copy = os.fork()
if not copy:
    __import__("faulthandler").dump_traceback_later({2 * END_S}, exit=True)
    try:
        strategy.run(lambda: 1)
    except tf.VarsimError as error:
        print(error)
    os._exit(0)
_, status = os.waitpid(copy, 0)
say()
print(status, strategy.run(lambda: int(all_reduce("SUM", 1))))
"""


@pytest.mark.thorough
def test_a_fork_of_the_program_cannot_use_its_workers() -> None:
    with running(USED_IN_A_COPY) as (process, _):
        out, said = process.communicate(timeout=10_000 * MS)
    assert (0, "") == (process.returncode, said), out
    error, result = out.splitlines()
    assert "fork" in error
    assert "0 2" == result


@pytest.mark.thorough
def test_a_strategy_that_is_never_closed_leaves_nothing() -> None:
    with running("say()") as (process, workers):
        _, said = process.communicate(timeout=10_000 * MS)
    assert (0, "") == (process.returncode, said)
    assert not any(map(is_running, workers))
    assert [] == private_directories()


THREADS = """
import threading

with strategy.scope():
    v = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)
errors = []

def use():
    for _ in range(30):
        try:
            strategy.run(lambda: v.assign_add(1.0) is None)
        except tf.VarsimError as error:
            errors.append(str(error))

say()
threads = [threading.Thread(target=use) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(float(v) + 2 * len(errors), all("thread" in error for error in errors))
print(strategy.run(lambda: int(all_reduce("SUM", 1))))
"""


@pytest.mark.thorough
def test_threads_may_use_one_strategy_at_the_same_time() -> None:
    """Each call takes place, or is refused with an error about threads."""
    with running(THREADS) as (process, _):
        out, said = process.communicate(timeout=20_000 * MS)
    assert (0, "180.0 True\n2\n", "") == (process.returncode, out, said)


@pytest.mark.thorough
def test_threads_may_use_one_strategy_one_after_the_other() -> None:
    program = THREADS.replace("thread.start()", "thread.start(); thread.join()")
    with running(program) as (process, _):
        out, said = process.communicate(timeout=20_000 * MS)
    assert (0, "180.0 True\n2\n", "") == (process.returncode, out, said)


STILL_BUSY = """
import time
import varsim.sync.program

varsim.sync.program.PATIENCE_S = 0.05
try:
    strategy.run(one_busy)
except KeyboardInterrupt:
    try:
        strategy.run(replica_id)
    except tf.VarsimError as error:
        print(type(error).__name__, error)
began = time.monotonic()
strategy.close()
print(time.monotonic() - began)
"""


@pytest.mark.thorough
def test_the_use_after_ctrl_c_names_the_busy_replica() -> None:
    """Closing the strategy does not wait for this replica."""
    with running(STILL_BUSY) as (process, _):
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=10_000 * MS)
    first, second, *_, took_s = out.splitlines()
    assert (0, "") == (process.returncode, said)
    assert first.startswith("StillRunning replica 0 still runs the function of a call that ended ")
    assert first.endswith(" s ago (KeyboardInterrupt):")
    assert second.startswith("  replica 0: has been running one_busy (<string>:")
    assert re.search(r"; now at tests/processes/replicas\.py:\d+$", second)
    assert float(took_s) < 500 * MS
