"""Real workers are lost, stuck or interrupted, and the strategy goes on with new ones."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster
from tests.processes.replicas import take_long
from tests.replica_context import replica_id
from tests.waiting import MS, wait_for_exit
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.errors import CallTimeout, StillRunning, WorkerLost
from varsim.texts.incarnations import Instead
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore:(The strategy goes on|replica )"),
]

LARGE = 2**16
"""The number of elements of a variable that is in shared memory."""

S, A = tf.VariableSynchronization, tf.VariableAggregation


class Program:
    """A step that changes a mirrored variable and a sum."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        with strategy.scope():
            self.w = tf.Variable(np.zeros(LARGE), name="w", aggregation=A.SUM)
            self.seen = tf.Variable(0, name="seen", synchronization=S.ON_READ, aggregation=A.SUM)

    def step(self, *, alone: str = "") -> None:
        """Do one step; replica 1 does something else first."""
        w, seen, program = self.w, self.seen, os.getpid()

        def on_a_replica() -> int:
            if replica_id() == 1 and alone == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if replica_id() == 1 and alone == "interrupt":
                os.kill(program, signal.SIGINT)
            if replica_id() == 1 and alone:
                take_long()
            w.assign_add(np.ones(LARGE))
            seen.assign_add(1)
            return os.getpid()

        run = self.strategy.run(on_a_replica)
        self.processes = [int(one) for one in self.strategy.experimental_local_results(run)]

    @property
    def values(self) -> tuple[float, float, list[int]]:
        """Return the first and the last element of `w`, and the components of `seen`."""
        array = self.w.numpy()
        return float(array[0]), float(array[-1]), [int(one.numpy()) for one in self.seen.values]


def verdict_of(traces: Path, folder: Path) -> Outcome:
    """Return the verdict about the record of one incarnation."""
    folder.mkdir()
    merge(traces, folder)
    with open_history(folder) as history:
        return max((one.outcome for one in judge(history)), key=lambda one: one is Outcome.INVALID)


@pytest.mark.thorough
@pytest.mark.parametrize("policy", ["restart", "shrink"])
def test_the_call_after_a_loss_uses_new_processes_and_kept_values(
    policy: str, tmp_path: Path
) -> None:
    trace = TraceOptions(tmp_path)
    with cluster(3, on_worker_lost=policy, trace=trace, log_dir=tmp_path / "logs") as strategy:
        program = Program(strategy)
        program.step()
        before = program.processes
        with pytest.raises(WorkerLost, match="The strategy goes on as incarnation 2"):
            program.step(alone="kill")
        for process in before:
            wait_for_exit(process)
        left = [1, 0, 1] if policy == "restart" else [1, 1]
        low, high, seen = program.values
        assert low == high == 3.0
        # A survivor may have made its write before the loss.
        assert all(one in (was, was + 1) for one, was in zip(seen, left, strict=True))
        program.step()
        assert set(program.processes).isdisjoint(before)
        count = strategy.num_replicas_in_sync
        assert (3.0 + count, 3.0 + count, [one + 1 for one in seen]) == program.values
    for number, traces in enumerate((tmp_path, tmp_path / "incarnation-2"), start=1):
        assert verdict_of(traces, tmp_path / f"record-{number}") is not Outcome.INVALID
    assert (tmp_path / "logs" / "incarnation-2").is_dir()


@pytest.mark.thorough
def test_a_stuck_replica_that_varsim_ends_is_lost() -> None:
    with cluster(2, on_worker_lost="restart", stall_fail_s=600 * MS) as strategy:
        program = Program(strategy)
        program.step()
        with pytest.raises(CallTimeout, match="The strategy goes on as incarnation 2") as caught:
            program.step(alone="stall")
        assert caught.value.recovery is not None
        assert [(1,)] == [one.replica_ids for one in caught.value.recovery.lost]
        program.step()
        assert 4.0 == program.values[0]


@pytest.mark.thorough
def test_a_restart_ends_a_replica_that_ignores_an_interrupt() -> None:
    with cluster(2) as strategy:
        program = Program(strategy)
        program.step()
        stuck = program.processes[1]
        with pytest.raises(KeyboardInterrupt):
            program.step(alone="interrupt")
        with pytest.raises(StillRunning, match=r"strategy.restart\(\), which ends the workers"):
            program.step()
        (lost,) = strategy.restart().lost
        assert ((1,), Instead.ZERO) == (lost.replica_ids, lost.instead)
        wait_for_exit(stuck)
        program.step()
        assert 4.0 == program.values[0]


@pytest.mark.slow
def test_a_kill_during_a_restart_costs_another_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cluster(2, on_worker_lost="restart") as strategy:
        program = Program(strategy)
        program.step()
        with pytest.raises(WorkerLost):
            program.step(alone="kill")
        incarnations = strategy.incarnations
        recreate = incarnations._recreate
        killed: list[int] = []

        def kill_and_recreate() -> None:
            channel: Any = incarnations.coordinator.link.channel
            killed.append(channel._hosts._process_ids[0])
            os.kill(killed[0], signal.SIGKILL)
            recreate()

        with monkeypatch.context() as patched:
            patched.setattr(incarnations, "_recreate", kill_and_recreate)
            strategy.start()
        with pytest.raises(WorkerLost, match="The strategy goes on as incarnation 3"):
            program.step()
        assert 2.0 == program.values[0]
        program.step()
        assert 4.0 == program.values[0]
        wait_for_exit(killed[0])
