"""Replicas without rows, on real workers, cause a warning and are named by a finding."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import cluster, location_of
from varsim.analysis.findings.not_finite import NOT_FINITE
from varsim.analysis.search import find
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions


def test_the_mean_of_an_empty_share_is_found_and_ragged_values_are_refused(tmp_path):
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
