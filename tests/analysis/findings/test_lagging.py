"""One-sided reads whose values are several versions old."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from varsim.analysis.findings.lagging import LAGGING
from varsim.analysis.findings.model import Finding
from varsim.analysis.search import find
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

NONE = tf.VariableSynchronization.NONE

pytestmark = pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")


def findings(
    folder: Path, step: Callable[[tf.Variable, int], None], synchronization: Any = NONE
) -> list[Finding]:
    """Run a step on two replicas, replica 0 first, and return the findings about lags."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(folder))
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=synchronization, name="v")

        def run() -> None:
            step(v, tf.distribute.get_replica_context().replica_id_in_sync_group)

        strategy.run(run)
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        return [one for one in find(history) if one.kind is LAGGING]


def meet() -> None:
    tf.distribute.get_replica_context().all_reduce("SUM", 1.0)


@pytest.mark.parametrize(("writes", "count"), [(2, 0), (3, 1)])
def test_a_fetch_of_a_component_that_was_written_often_since_lags(
    tmp_path: Path, writes: int, count: int
):
    def step(v: tf.Variable, replica_id: int) -> None:
        if replica_id == 0:
            v.publish()
            for _ in range(writes):
                v.assign_add(1.0)
        meet()
        if replica_id == 1:
            v.fetch(0)

    found = findings(tmp_path, step)

    assert count == len(found)
    if found:
        assert "1 of 1 fetched component was old" in found[0].what
        assert "had written the variable more than 2 times, and up to 3 times." in found[0].what
        assert ((3, 1),) == found[0].histogram
        (((file, _, _), times),) = [(one.partition(":"), n) for one, n in found[0].locations]
        assert (Path(__file__).name, 1) == (Path(file).name, times)


@pytest.mark.parametrize(("pushes", "count"), [(2, 0), (3, 1)])
def test_a_push_after_many_pushes_of_others_lags(tmp_path: Path, pushes: int, count: int):
    def step(v: tf.Variable, replica_id: int) -> None:
        if replica_id == 0:
            v.pull()
        meet()
        if replica_id == 1:
            for _ in range(pushes):
                v.push(1.0)
        meet()
        if replica_id == 0:
            v.push(1.0)
            v.push(1.0)  # only the first push after a pull counts

    found = findings(tmp_path, step)

    assert count == len(found)
    if found:
        assert "1 of 1 pulled value was old" in found[0].what
        assert "up to 3 changes of others" in found[0].what


def test_pushes_without_a_pull_do_not_lag(tmp_path: Path):
    def step(v: tf.Variable, replica_id: int) -> None:
        for _ in range(20):
            v.push(1.0)

    assert [] == findings(tmp_path, step)


def test_own_pushes_are_no_lag(tmp_path: Path):
    def step(v: tf.Variable, replica_id: int) -> None:
        if replica_id == 0:
            for _ in range(9):
                v.pull()
                v.push(1.0)

    assert [] == findings(tmp_path, step)
