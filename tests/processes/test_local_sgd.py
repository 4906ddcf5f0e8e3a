"""LocalSGD on real workers: a program, a run of a workload, and a judged record."""

from __future__ import annotations

import numpy as np

import varsim as tf
from tests.processes.conftest import cluster
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.experiments.finished_run import run_experiment
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions


def test_real_workers_average_at_every_third_write():
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    try:
        with strategy.scope():
            v = tf.Variable(0.0, name="v", synchronization=tf.LocalSGD(3))

        def step():
            v.assign_add(1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group)
            return float(v.read_value())

        seen = [strategy.experimental_local_results(strategy.run(step)) for _ in range(4)]
        assert [(1.0, 2.0), (2.0, 4.0), (4.5, 4.5), (5.5, 6.5)] == [
            tuple(one) if len(one) == 2 else tuple(one) * 2 for one in seen
        ]
        assert 6.0 == float(v.read_value())
    finally:
        strategy.close()


def test_a_run_with_local_sgd_8_exchanges_at_every_eighth_step(tmp_path):
    finished = run_experiment(
        workload="digits", workers=2, mode="local_sgd:8", steps=16, out=tmp_path
    )

    weights = next(one for one in finished.summary.variables if one.name == "weights")
    assert ("local_sgd:8", "MEAN", 2) == (
        weights.synchronization,
        weights.aggregation,
        weights.merges,
    )


def test_the_record_of_sparse_writes_is_valid(tmp_path):
    with cluster(2, trace=TraceOptions(tmp_path)) as strategy:
        with strategy.scope():
            table = tf.Variable(np.zeros((3, 2), "f"), synchronization=tf.LocalSGD(2))

        def step():
            own = replica_id()
            table.scatter_add(tf.IndexedSlices(np.ones((2, 2), "f"), [own, own]))
            return table[[0, 1, 2]][:, 0].tolist()

        seen = [strategy.experimental_local_results(strategy.run(step)) for _ in range(2)]
        assert [([2.0, 0.0, 0.0], [0.0, 2.0, 0.0]), ([2.0, 2.0, 0.0],) * 2] == [
            tuple(map(list, one)) for one in seen
        ]
        table.scatter_add(tf.IndexedSlices(np.ones((1, 2), "f"), [2]))
        assert [2.0, 2.0, 1.0] == table.numpy()[:, 0].tolist()
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        assert {Outcome.VALID} == {one.outcome for one in judge(history)}
