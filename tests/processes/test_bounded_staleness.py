"""BoundedStaleness between real processes: the bound holds, and no write is lost or torn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy
from tests.properties.test_bounded_staleness import Program
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.processes

SUM = tf.VariableAggregation.SUM
SIZE = 2**17
"""Number of float32 values: a value of 512 KiB is in shared memory, if the machine has it."""


@pytest.mark.parametrize("programs", [3, pytest.param(40, marks=pytest.mark.thorough)])
def test_random_programs_on_processes_are_valid(programs: int, tmp_path: Path) -> None:
    devices = ["cpu:0", "cpu:1", "cpu:2"]
    with tf.distribute.MirroredStrategy(
        devices, trace=TraceOptions(tmp_path), uneven="join"
    ) as strategy:
        for seed in range(programs):
            Program(seed, 3).run_on(strategy)
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        verdicts = judge(history)

    assert [] == [one for one in verdicts if one.outcome is not Outcome.VALID]


def test_large_values_are_never_torn(strategy: Strategy) -> None:
    with strategy.scope():
        v = tf.Variable(
            np.zeros(SIZE, np.float32),
            synchronization=tf.BoundedStaleness(2),
            aggregation=SUM,
            name="v",
        )

    def step() -> list[tuple[float, float]]:
        seen = []
        one = np.ones(SIZE, np.float32)
        for _ in range(10):
            v.assign_add(one, read_value=False)
            one[:] = 1.0  # the program may use its array again
            value = v.read_value()
            seen.append((float(value.min()), float(value.max())))
        return seen

    seen = strategy.experimental_local_results(strategy.run(step))

    for own in seen:
        assert all(least == most for least, most in own)
        assert [number + 1 <= least for number, (least, _) in enumerate(own)] == [True] * 10
    assert {30.0} == {*np.unique(v.numpy()).tolist()}


def test_a_fast_process_waits_for_a_slow_one(strategy: Strategy) -> None:
    """Replica 2 writes only when replica 0 can go no further."""
    with strategy.scope():
        v = tf.Variable(0, synchronization=tf.BoundedStaleness(1), aggregation=SUM, name="paced")

    def step() -> int:
        context = tf.distribute.get_replica_context()
        if replica_id() == 2:
            context.recv(0)
        for number in range(5):
            if replica_id() == 0 and number == 1:
                context.send(0, to=2)
            v.assign_add(1, read_value=False)
        return int(v.read_value())

    strategy.run(step)
    bounded = next(one.bounded for one in strategy.statistics() if one.name == "paced")

    assert 15 == v.read_value()
    assert bounded is not None
    assert 1 == bounded.most_ahead
    assert sum(one.waits for one in bounded.waits.values()) > 0
