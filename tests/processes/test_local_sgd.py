"""LocalSGD on real workers: programs, a run of a workload, and judged records."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.judged import judged
from tests.processes.conftest import cluster
from tests.properties.local_sgd_programs import random_program, real_workers, run
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.experiments.finished_run import run_experiment
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

    assert {Outcome.VALID} == {one.outcome for one in judged(tmp_path)}


# ---------------------------------------------------------------- random programs


def on_workers(seed: int) -> list[str]:
    _, wrong = run(random_program(seed, largest=3), real_workers)
    return [f"{seed}: {one.checker}: {one.reason}" for one in wrong]


@pytest.mark.thorough
def test_a_random_program_on_real_workers_keeps_the_invariant():
    assert [] == on_workers(3)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_forty_random_programs_on_real_workers_keep_the_invariant():
    assert [[]] * many(40) == [on_workers(100 + seed) for seed in range(many(40))]
