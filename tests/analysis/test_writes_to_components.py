"""Records of programs that write single components, which then have versions of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.analysis.test_collectives import examined
from varsim.analysis.outcome import Outcome
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

ON_WRITE, MEAN = tf.VariableSynchronization.ON_WRITE, tf.VariableAggregation.MEAN


def recorded(folder: Path, seed: int | None, *, reads: bool) -> Path:
    """Record merges between writes to single components; return the history."""
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1", "cpu:2"], trace=TraceOptions(folder / "traces")
        )
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=ON_WRITE, aggregation=MEAN, name="v")
            u = tf.Variable([0.0, 0.0], synchronization=ON_WRITE, aggregation=MEAN, name="u")
            zeros = np.zeros((4, 2), np.float32)
            t = tf.Variable(zeros, synchronization=ON_WRITE, aggregation=MEAN, name="t")

        def step() -> None:
            row = tf.IndexedSlices(np.ones((1, 2), np.float32), [1])
            v.assign_add(1.0, read_value=False)
            u.assign_add([1.0, 1.0], read_value=False)
            v.assign_add(2.0, read_value=False)
            t.scatter_add(row)
            t.scatter_add(row)
            if reads:
                v.read_value()

        def write_one_and_all(_: tf.distribute.Strategy) -> None:
            v.values[2].assign(1.0)
            v.assign_add(1.0)

        def merging() -> None:
            tf.distribute.get_replica_context().merge_call(write_one_and_all)
            v.assign_add(1.0)

        for turn in range(5):
            strategy.run(step)
            v.values[turn % 3].assign(5.0)
            if turn % 2:
                v.values[1].assign_add(5.0)
                u.values[0].assign([1.0, 1.0])
                t.values[2].scatter_add(tf.IndexedSlices(np.ones((1, 2), np.float32), [2]))
            v.values[0].read_value()
        strategy.run(merging)
        strategy.run(step)
        strategy.close()
    merge(folder / "traces", folder / HISTORY)
    return folder / HISTORY


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.parametrize("reads", [False, True])
def test_merges_of_components_with_different_versions_are_valid(
    tmp_path: Path, seed: int | None, *, reads: bool
) -> None:
    found = examined(recorded(tmp_path, seed, reads=reads))

    assert {Outcome.VALID} == {one.outcome for one in found.verdicts}
    assert "stale read" not in {one.kind.name for one in found.findings}
