"""Compressed variables on real workers: random programs, large values, and a judged record."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import cluster
from tests.properties.test_compressed import Program, check_program
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.experiments.finished_run import run_experiment
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import MESSAGES, TraceOptions

SUM = tf.VariableAggregation.SUM


@pytest.mark.parametrize("exchange", ["star", "shared"])
@pytest.mark.thorough
def test_large_values_are_equal_under_each_exchange(exchange):
    """Whole values and commits of this size are in shared memory, if there is one."""
    size = 2**17
    with cluster(2, exchange=exchange) as strategy:
        with strategy.scope():
            v = tf.Variable(
                np.zeros(size, "f"),
                synchronization=tf.Compressed("on_write", by="top_k:0.5"),
                aggregation=SUM,
            )
        change = np.where(np.arange(size) % 2, 4.0, 1.0).astype("f")
        for _ in range(2):
            strategy.run(lambda: v.assign_add(change * (1 + replica_id()), read_value=False))
        assert [[0.0, 24.0]] == np.unique(v.numpy().reshape(-1, 2), axis=0).tolist()
        for own in v.values:
            np.testing.assert_array_equal(v.numpy(), own.read_value())
        strategy.run(lambda: v.assign(change, read_value=False))
        np.testing.assert_array_equal(2 * change, v.numpy())


@pytest.mark.thorough
def test_the_record_of_large_contributions_is_valid(tmp_path):
    options = TraceOptions(tmp_path, level=MESSAGES)
    with cluster(2, trace=options) as strategy:
        with strategy.scope():
            v = tf.Variable(
                np.zeros(2**15, "f"),
                synchronization=tf.Compressed("on_write", by="one_bit"),
                aggregation=SUM,
            )
        change = np.linspace(-1, 1, 2**15, dtype="f")
        for _ in range(3):
            strategy.run(lambda: v.assign_add(change * (1 + replica_id()), read_value=False))
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        verdicts = {one.checker: one for one in judge(history)}
    assert {Outcome.VALID} == {one.outcome for one in verdicts.values()}, verdicts
    assert "compression" in verdicts


@pytest.mark.thorough
def test_a_run_shows_the_saved_bytes_and_the_error(tmp_path):
    finished = run_experiment(
        workload="digits",
        workers=2,
        mode="compressed:on_write:top_k:0.1",
        steps=10,
        out=tmp_path,
    )

    weights = next(one for one in finished.summary.variables if one.name == "weights")
    assert weights.compression is not None
    assert (20, 20 * 64 * 8, 20 * 640 * 4) == (
        weights.compression.contributions,
        weights.compression.size_bytes,
        weights.compression.whole_bytes,
    )
    assert weights.compression.error is not None
    assert 0.1 < weights.compression.error < 10


@pytest.mark.slow
@pytest.mark.parametrize("local", [False, True], ids=["on_write", "local_sgd"])
def test_forty_random_programs_equal_a_plain_model(local):
    """Forty for both kinds together; the clusters have two and three workers."""
    drawn = [Program(Random(seed), local=local) for seed in range(20)]
    for count in {program.count for program in drawn}:
        with cluster(count) as strategy:
            for program in drawn:
                if program.count == count:
                    check_program(program, strategy)
