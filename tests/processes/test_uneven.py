"""Replicas without rows, on real workers: warnings, a finding, and calls without replicas."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import cluster, location_of
from varsim.analysis.findings.not_finite import NOT_FINITE
from varsim.analysis.outcome import Outcome
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import MESSAGES, TraceOptions


def test_a_replica_without_rows_is_a_finding(tmp_path):
    with cluster(3, trace=TraceOptions(tmp_path)) as strategy:
        with strategy.scope():
            loss = tf.Variable(0.0, name="loss", aggregation=tf.VariableAggregation.MEAN)

        def step(rows):
            total = rows.sum(dtype=np.float32)
            with np.errstate(invalid="ignore"):
                loss.assign_add(total / np.float32(len(rows)))
            return rows

        batches = [np.ones((4, 2), np.float32), np.ones((3, 2), np.float32)]
        with pytest.warns(tf.VarsimWarning, match="batch 1 has 4 rows for 3 replicas: replica 2"):
            returned = [
                strategy.run(step, args=(rows,))
                for rows in strategy.experimental_distribute_dataset(batches)
            ]
        assert (4, 2) == strategy.gather(returned[0], axis=0).shape
        with pytest.raises(ValueError, match=r"replica 2: float32\[0, 2\]"):
            strategy.reduce("SUM", returned[0], axis=None)
        assert [4.0, 4.0] == strategy.reduce("SUM", returned[0], axis=0).tolist()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        (finding,) = [one for one in find(history) if one.kind is NOT_FINITE]

    assert "Replica 2 wrote the first NaN in call 1 of strategy.run" in finding.what
    assert "The arguments of replica 2 had no rows." in finding.what
    assert location_of(step, "loss.assign_add") == finding.locations[0][0]


@pytest.mark.thorough
def test_a_joined_replica_gets_the_commits_of_a_call_without_it(tmp_path):
    """The values are small and large, so that they are sent in messages and in shared memory."""
    with cluster(3, trace=TraceOptions(tmp_path, level=MESSAGES), uneven="join") as strategy:
        with strategy.scope():
            small = tf.Variable(0.0, aggregation=tf.VariableAggregation.MEAN)
            large = tf.Variable(np.zeros(2**18, np.float32), aggregation=small.aggregation)
            mine = tf.Variable(
                0.0,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )

        def step(rows):
            small.assign_add(rows[0])
            large.assign_add(np.full(2**18, rows[0], np.float32))
            mine.assign_add(rows[0])
            return tf.distribute.get_replica_context().num_replicas_present, rows[0]

        rows = [np.float32([1, 2, 3]), np.float32([2, 6]), np.float32([1, 1, 1])]
        with pytest.warns(tf.VarsimWarning, match="Only replicas 0, 1 take part"):
            returned = [
                strategy.run(step, args=(batch,))
                for batch in strategy.experimental_distribute_dataset(rows)
            ]
        assert [3, 2, 3] == [present for present, _ in returned]
        assert 4.0 == strategy.reduce("MEAN", returned[1][1], axis=None)
        assert [7.0] * 3 == [float(one.numpy()) for one in small.values]
        assert [7.0] * 3 == [float(one.numpy()[-1]) for one in large.values]
        assert [4.0, 9.0, 4.0] == [float(one.numpy()) for one in mine.values]
        assert 17.0 == mine.read_value()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        assert {Outcome.VALID} == {verdict.outcome for verdict in judge(history)}
        assert [None, 2, None] == [
            event.present for event in history.events() if event.kind == "call"
        ]
