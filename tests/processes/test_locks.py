"""Locks, barriers and sends between real workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.locking.programs import run, variables
from tests.locking.shapes import SHAPES
from tests.processes.conftest import Strategy, cluster, soon
from tests.replica_context import replica_id
from varsim.analysis.verdict import Outcome, judge
from varsim.errors import DeadlockError, VarsimWarning, WorkerLost
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.processes


def context() -> Any:
    return tf.distribute.get_replica_context()


@pytest.mark.parametrize("shape", SHAPES[1:14:12], ids=str)
def test_a_deadlock_is_named_at_once(strategy: Strategy, shape: Any) -> None:
    with strategy.scope():
        own = variables()
    with pytest.raises(DeadlockError) as caught, soon():
        strategy.run(run, args=(shape.programs, own))
    assert shape.replica_ids == caught.value.replica_ids
    assert shape.text in str(caught.value)


def test_a_critical_section_excludes_the_other_replicas(strategy: Strategy, tmp_path: Any) -> None:
    """Each replica reads a number from a file, and writes the next one."""
    file = tmp_path / "count"
    file.write_text("0")

    def count() -> None:
        for _ in range(30):
            with context().lock("file"):
                number = int(file.read_text())
                file.write_text(str(number + 1))

    strategy.run(count)
    assert "90" == file.read_text()
    entries = [one for one in strategy.lock_statistics() if one.lock == "file"]
    assert [("file", i, 30) for i in range(3)] == [
        (one.lock, one.replica_id, one.requests) for one in entries
    ]


def test_a_received_value_is_a_copy(strategy: Strategy) -> None:
    """One array is small, and one is in shared memory if the machine has it."""

    def pass_on() -> Any:
        large = np.ones(300_000, np.float32)
        arrays: dict[str, Any] = {"small": np.arange(3), "large": large, "text": "é"}
        if replica_id() == 0:
            context().send(arrays, to=1)
            return float(arrays["large"].sum())
        if replica_id() == 1:
            got = context().recv(0)
            got["large"] += 1
            got["small"][0] = 7
            return [got["small"].tolist(), float(got["large"].sum()), got["text"]]
        return None

    first, second, third = strategy.experimental_local_results(strategy.run(pass_on))
    assert (300_000.0, [[7, 1, 2], 600_000.0, "é"], None) == (first, second, third)


def test_a_replica_that_raises_releases_its_lock(strategy: Strategy) -> None:
    def fail() -> None:
        with context().lock("a"):
            raise ValueError("in the critical section")

    with pytest.raises(ValueError, match="in the critical section"):
        strategy.run(fail)
    strategy.run(run, args=(["lock a", "lock a", "lock a"], {}))


@pytest.mark.thorough
def test_a_killed_replica_releases_its_lock() -> None:
    with cluster(2, on_worker_lost="restart") as mortal:

        def die() -> None:
            with context().lock("a"):
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(WorkerLost), pytest.warns(VarsimWarning, match="incarnation 2"):
            mortal.run(die)
        mortal.run(run, args=(["lock a", "lock a"], {}))


@pytest.mark.thorough
def test_the_record_of_real_workers_is_valid(tmp_path: Path) -> None:
    program = "lock a, write n, unlock a, barrier, read_lock a, read n"
    programs = [program, program, program]
    with cluster(3, trace=TraceOptions(tmp_path)) as traced:
        with traced.scope():
            own = variables()
        for _ in range(10):
            traced.run(run, args=(programs, own))
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        assert {Outcome.VALID} == {verdict.outcome for verdict in judge(history)}
        grants = history.events("kind = 'answer' AND operation = 'granted'")
        assert 90 == sum(1 for _ in grants)
