"""Messages to a stopped process are not lost, and do not fill the memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import SOON_S, cluster
from tests.waiting import MS, wait_for
from varsim.errors import WorkerLost
from varsim.launch import backlog
from varsim.launch.sightings import sighting_of

pytestmark = pytest.mark.processes


@pytest.mark.thorough
def test_no_message_is_lost_while_a_process_is_stopped() -> None:
    """A worker and then the program are stopped for longer than a cut link may last."""
    command = [sys.executable, "-m", "tests.processes.stopped_programs"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10 * SOON_S)
    assert ("[2.0, 4.0, 6.0, 8.0, 10.0]", 0) == (ended.stdout, ended.returncode), ended.stderr


def stop(process_id: int) -> None:
    """Stop a process, and wait until it has stopped."""
    os.kill(process_id, signal.SIGSTOP)
    wait_for(lambda: sighting_of(process_id).stopped)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow only 1 MiB of messages that a worker has not received yet."""
    monkeypatch.setattr(backlog, "ASK_BYTES", 2**16)
    monkeypatch.setattr(backlog, "MAX_BACKLOG_BYTES", 2**20)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize(
    "size",
    [2**10, pytest.param(2**16, marks=pytest.mark.thorough)],
    ids=["in messages", "in shared memory"],
)
def test_writes_to_a_stopped_worker_are_limited(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program shows a warning and waits. The program continues when the worker continues."""
    count = 2**23 // (8 * size)
    at_warnings: list[int] = []
    written = process_id = 0
    texts: list[str] = []

    def go_on(message: Warning | str, *_: object, **__: object) -> None:
        if not process_id:
            return  # the first call may cause a warning before the worker is stopped
        texts.append(str(message))
        at_warnings.append(written)
        os.kill(process_id, signal.SIGCONT)

    monkeypatch.setattr(warnings, "showwarning", go_on)
    with warnings.catch_warnings(), cluster(2, stall_warn_s=50 * MS, stall_fail_s=0) as strategy:
        warnings.simplefilter("always")
        with strategy.scope():
            v = tf.Variable(np.zeros(size))
        process_id = int(strategy.run(os.getpid).values[1])
        stop(process_id)
        for written in range(count):
            v.assign(np.full(size, float(written)))

        assert 0 < at_warnings[0] * 8 * size < 2**21
        assert f"  replica 1 (process {process_id}) is stopped by a signal (" in texts[0]
        assert count - 1 == strategy.run(lambda: float(v.read_value()[-1]))


@pytest.mark.slow
@pytest.mark.usefixtures("small_limit")
def test_a_worker_that_stays_stopped_is_ended() -> None:
    with cluster(2, stall_warn_s=0, stall_fail_s=50 * MS) as strategy:
        with strategy.scope():
            v = tf.Variable(np.zeros(2**10))
        stop(int(strategy.run(os.getpid).values[1]))

        def write() -> None:
            for number in range(1_000):
                v.assign(np.full(2**10, float(number)))

        with pytest.raises(WorkerLost, match="it was stopped by a signal"):
            write()
