"""Values of plain variables are recorded, and compared with a single device after each call."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import DATA, comparison, on_each_batch, part
from varsim.analysis.plain_values import PLAIN_EVENTS
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES
from varsim.tracing.trace import TraceOptions


def sums(strategy: tf.distribute.MirroredStrategy) -> None:
    """Sum all examples, and keep the last mean, in two plain variables."""
    total = tf.Variable(0.0, name="total")
    last = tf.Variable(0.0, name="last")

    def step(batch: np.ndarray) -> None:
        total.assign_add(float(part(batch).sum()))
        last.assign(float(part(batch).mean()))

    on_each_batch(strategy, step)


def test_the_value_after_each_call_is_compared_with_a_single_device() -> None:
    compared = comparison(sums)
    total, last = sorted(compared.collectives, key=lambda one: one.variable, reverse=True)

    assert ("plain", "total") == (total.operation, total.variable)
    assert (len(DATA), 0) == (total.compared, total.count)
    assert ("last", len(DATA), len(DATA), 1) == (
        last.variable,
        last.compared,
        last.count,
        last.step,
    )
    assert Path(__file__).name in last.location
    assert np.isclose(DATA[0].mean(), last.wanted)
    assert np.isclose(np.array_split(DATA[0], 2)[1].mean(), last.got)
    assert compared.differs


@pytest.mark.parametrize("elements", [2, FRAME_LIMIT_BYTES // 4 + 1])
def test_a_notice_has_the_value_after_the_operation(tmp_path: Path, elements: int) -> None:
    with simulated_cluster():
        options = TraceOptions(tmp_path)
        with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=options) as strategy:
            weight = tf.Variable(np.zeros(elements, np.float32), name="weight")

            def step() -> None:
                weight.assign_add(np.ones(elements, np.float32))

            strategy.run(step)
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        events = list(history.events(PLAIN_EVENTS))

    assert [elements] * 2 == [json.loads(one.shape or "")[0] for one in events]
    if elements == 2:
        assert [[1, 1], [2, 2]] == [np.frombuffer(e.value or b"", "f4").tolist() for e in events]
    else:
        assert all(one.value is None and one.digest and one.elements for one in events)
