"""A worker is killed at different points: the program gets an error, and reads what survives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, soon
from tests.replica_context import replica_id
from varsim.errors import WorkerLost
from varsim.sync.coordinator_events import ReplicasLost
from varsim.testing import read_logs, recorded_events, replay

pytestmark = pytest.mark.processes

LOST = 1
"""The replica whose worker is killed."""

MAY_BEGIN = {1, 2}
"""The possible values of `seen` on a survivor: it may have begun the step, or not."""

S, A = tf.VariableSynchronization, tf.VariableAggregation


def die() -> None:
    if replica_id() == LOST:
        os.kill(os.getpid(), signal.SIGKILL)


Step = Callable[[Any, Any], object]


def before_a_collective(w: Any, seen: Any) -> None:
    seen.assign_add(1)
    die()
    w.assign_add(1.0)
    w.read_value()


def between_collectives(w: Any, seen: Any) -> None:
    w.assign_add(1.0)
    w.read_value()
    seen.assign_add(1)
    die()
    w.assign_add(10.0)
    w.read_value()


def in_a_merge_call(w: Any, seen: Any) -> None:
    seen.assign_add(1)  # in the merge_call, the program waits for the worker that is killed

    def merge(strategy: Strategy) -> None:
        w.assign_add(1.0)
        strategy.run(die)

    tf.distribute.get_replica_context().merge_call(merge)


def in_a_host_call(w: Any, seen: Any) -> None:
    """Another replica's host call waits for the component of the worker that is killed."""
    seen.assign_add(1)
    if replica_id() == 0:
        seen.values[LOST].read_value()
    die()


def after_all_writes(w: Any, seen: Any) -> None:
    w.assign_add(1.0)
    seen.assign_add(1)
    w.read_value()
    die()


@pytest.mark.parametrize(
    ("step", "value", "counts"),
    [
        pytest.param(before_a_collective, 1.0, MAY_BEGIN, marks=pytest.mark.slow),
        pytest.param(between_collectives, 2.0, {2}, marks=pytest.mark.slow),
        (in_a_merge_call, 2.0, {2}),
        pytest.param(in_a_host_call, 1.0, MAY_BEGIN, marks=pytest.mark.slow),
        pytest.param(after_all_writes, 2.0, {2}, marks=pytest.mark.slow),
    ],
)
def test_after_a_kill_the_program_reads_what_survives(
    step: Step, value: float, counts: set[int]
) -> None:
    with cluster(3) as strategy:
        w, seen = variables(strategy)
        strategy.run(one_step, args=(w, seen))
        with soon(), pytest.raises(WorkerLost, match="replica 1: worker was killed by SIGKILL"):
            strategy.run(step, args=(w, seen))

        with soon():
            check_reads(w, seen, value, counts)
            check_refusals(strategy, w)


def test_an_idle_worker_is_lost(tmp_path: Path) -> None:
    """The next operation that needs the worker raises the error. Other reads succeed.

    New states return the same actions for the recorded events.
    """
    with recorded_events(tmp_path), cluster(3) as strategy:
        w, seen = variables(strategy)
        pids = strategy.run(one_step, args=(w, seen))
        os.kill(pids.values[LOST], signal.SIGKILL)

        with soon(), pytest.raises(WorkerLost, match="replica 1: worker was killed by SIGKILL"):
            strategy.run(one_step, args=(w, seen))
        with soon():
            check_reads(w, seen, 1.0, MAY_BEGIN)
            check_refusals(strategy, w)

    logs = read_logs(tmp_path)
    for log in logs:
        replay(log)
    events = [entry.event for log in logs for entry in log.entries]
    assert [(LOST,)] == [
        tuple(worker.replica_id for worker in event.workers)
        for event in events
        if isinstance(event, ReplicasLost)
    ]


def variables(strategy: Strategy) -> tuple[Any, Any]:
    with strategy.scope():
        w = tf.Variable(0.0, name="w", synchronization=S.ON_WRITE, aggregation=A.MEAN)
        seen = tf.Variable(0, name="seen", synchronization=S.ON_READ, aggregation=A.SUM)
    return w, seen


def one_step(w: Any, seen: Any) -> int:
    w.assign_add(1.0)
    seen.assign_add(1)
    return os.getpid()


def check_reads(w: Any, seen: Any, value: float, counts: set[int]) -> None:
    """Check the values that survive, and that the lost component is named."""
    assert value == float(w.read_value())
    assert [value] * 3 == [float(copy.numpy()) for copy in w.values]
    for survivor in (0, 2):
        assert int(seen.values[survivor].numpy()) in counts
    for read in (seen.read_value, seen.values[LOST].numpy):
        with pytest.raises(WorkerLost) as caught:
            read()
        assert str(caught.value).startswith("variable 'seen': the component of replica 1 is lost")


def check_refusals(strategy: Strategy, w: Any) -> None:
    def create() -> None:
        with strategy.scope():
            tf.Variable(0.0)

    for operation in (lambda: strategy.run(replica_id), lambda: w.assign(5.0), create):
        with pytest.raises(WorkerLost, match=r"strategy.restart\(\) starts"):
            operation()
