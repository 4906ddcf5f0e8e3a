"""Faults of an experiment on real workers: kill, exit and pause, and the coordinator's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import varsim as tf
from tests.processes.conftest import cluster
from varsim.errors import WorkerLost

pytestmark = pytest.mark.processes

PAUSE_S = 0.1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("kill replica=1 call=2 operation=2", "was killed by SIGKILL"),
        ("exit replica=1 call=2 code=7", "exited with code 7"),
    ],
)
def test_a_worker_ends_in_the_call_of_its_fault(fault: str, reason: str) -> None:
    paused = f"pause replica=0 call=1 s={PAUSE_S}"
    with cluster(2, faults=[paused, fault]) as strategy:
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

        def step() -> float:
            v.assign_add(1.0)
            return float(v.read_value())

        assert strategy.run(step) == 2.0
        with pytest.raises(WorkerLost, match=rf"replica 1: worker {reason}"):
            strategy.run(step)
        assert strategy.faults is not None
        assert strategy.faults.missed() == []


PROGRAM = """
import varsim as tf
strategy = tf.distribute.MirroredStrategy(["a"], faults=["kill replica=coordinator call=2"])
for _ in range(2):
    print(*strategy.experimental_local_results(strategy.run(lambda: 1)), flush=True)
"""


def test_the_coordinator_ends_at_the_call_of_its_fault() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "1\n"), done.stderr
