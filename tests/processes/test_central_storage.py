"""CentralStorageStrategy on real workers: a judged record, the lens, and a lost worker."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.lens import moments
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.errors import WorkerLost
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

CentralStorageStrategy = tf.distribute.experimental.CentralStorageStrategy
SUM = tf.VariableAggregation.SUM


def test_the_record_is_valid_and_the_lens_shows_one_copy(tmp_path):
    with CentralStorageStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path)) as strategy:
        with strategy.scope():
            total = tf.Variable(0.0, name="total", aggregation=SUM)
            table = tf.Variable(np.zeros((3, 2), "f"), name="table")  # no aggregation is needed

        def step():
            own = replica_id()
            total.assign_add(1.0 + own)
            table.scatter_update(tf.IndexedSlices(np.full((2, 2), own + 1, "f"), [own, 2]))
            table.scatter_nd_add([[own, 0]], np.ones(1, "f"))
            return total.read_value(), repr(tf.distribute.get_strategy())

        seen = strategy.run(step)
        total.assign_sub(1.0)
        strategy.run(step)

        assert [3.0, 3.0] == [float(one) for one in seen[0].values]
        assert "CentralStorageStrategy(['cpu:0', 'cpu:1'])" == seen[1]
        assert 5.0 == total.numpy()
        assert [[2.0, 1.0], [3.0, 2.0], [2.0, 2.0]] == table.numpy().tolist()
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        assert {Outcome.VALID} == {one.outcome for one in judge(history)}
        row = next(one for one in history.variables.values() if one.name == "total")
        shown = [(one.shown, one.value.tolist()) for one in moments(history, row)]
    assert [((), [0.0]), ((), [3.0]), ((), [5.0])] == shown


@pytest.mark.thorough
def test_no_copy_is_lost_with_a_worker():
    with CentralStorageStrategy(["cpu:0", "cpu:1"]) as strategy:
        with strategy.scope():
            v = tf.Variable(1.0, aggregation=SUM)
        strategy.run(lambda: v.assign_add(1.0).read_value())

        with pytest.raises(WorkerLost):
            strategy.run(lambda: os.kill(os.getpid(), signal.SIGKILL) if replica_id() else None)

        assert 3.0 == v.numpy()
