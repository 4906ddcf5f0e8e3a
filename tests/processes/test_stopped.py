"""A process that is stopped for a while loses no message, and does not fill the memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import SOON_S, Strategy
from tests.waiting import MS
from varsim.errors import CallTimeout
from varsim.launch import backlog

pytestmark = pytest.mark.processes


def test_no_message_is_lost_while_a_process_is_stopped() -> None:
    """A worker and then the program are stopped for longer than the time-out of a heartbeat."""
    command = [sys.executable, "-m", "tests.processes.stopped_programs"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10 * SOON_S)
    assert ("[2.0, 4.0, 6.0, 8.0, 10.0]", 0) == (ended.stdout, ended.returncode), ended.stderr


@pytest.mark.parametrize("size", [2**10, 2**16], ids=["in messages", "in shared memory"])
def test_writes_to_a_stopped_worker_are_limited(
    strategy: Strategy, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "ASK_BYTES", 2**16)
    monkeypatch.setattr(backlog, "MAX_BACKLOG_BYTES", 2**20)
    with strategy.scope():
        v = tf.Variable(np.zeros(size))
    process_id = int(strategy.run(os.getpid).values[1])

    written: list[float] = []

    def write() -> None:
        for i in range(1_000):
            v.assign(np.full(size, float(i)))
            written.append(i)

    monkeypatch.setattr(strategy.coordinator, "call_timeout_s", 20 * MS)
    os.kill(process_id, signal.SIGSTOP)
    try:
        with pytest.raises(CallTimeout, match=rf"replica 1 \(process {process_id}\) has not rec"):
            write()
    finally:
        os.kill(process_id, signal.SIGCONT)
        monkeypatch.setattr(strategy.coordinator, "call_timeout_s", SOON_S)

    assert 0 < len(written) * 8 * size < 2**21
    v.assign_add(np.ones(size))
    last = strategy.run(lambda: float(v.read_value()[-1]))
    assert len(written) == last
