"""Replicas do not send unused values, but the history shows whether these values differed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from varsim.analysis.findings.same_contributions import SAME_CONTRIBUTIONS
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.testing import simulated_cluster
from varsim.tracing.history import History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES
from varsim.tracing.samples import MOST_ELEMENTS
from varsim.tracing.trace import TraceOptions

STEPS = 4


def history_of(folder: Path, *, differ: bool, size: int = 2) -> AbstractContextManager[History]:
    """Open the history of replicas that write variables with the aggregation ONLY_FIRST_REPLICA."""
    strategy = tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1", "cpu:2"], trace=TraceOptions(folder)
    )
    with strategy.scope():
        epoch, other = [
            tf.Variable(
                np.zeros(size, np.float32),
                name=name,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for name in ("epoch", "other")
        ]

    def step(number):
        replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = number + replica_id * differ
        epoch.assign(np.full(size, own, np.float32))
        other.assign(np.full(size, -own - replica_id, np.float32))
        return epoch.read_value()

    for number in range(STEPS):
        strategy.run(step, args=(number,))
    strategy.close()
    merge(folder, folder)
    return open_history(folder)


@pytest.mark.parametrize("differ", [False, True])
def test_merges_of_equal_and_of_different_values_are_distinguished(tmp_path: Path, differ: bool):
    with simulated_cluster(), history_of(tmp_path, differ=differ) as history:
        found = [(one.kind, one.variable, one.count) for one in find(history)]
        assert Outcome.VALID is overall(judge(history))

    same = (SAME_CONTRIBUTIONS, "epoch", STEPS)
    assert (same in found) is not differ
    assert (SAME_CONTRIBUTIONS, "other", STEPS) not in found


def test_samples_of_large_values_are_recorded(tmp_path: Path):
    size = FRAME_LIMIT_BYTES // 4 + 1
    with simulated_cluster(), history_of(tmp_path, differ=False, size=size) as history:
        writes = [e for e in history.events() if e.kind == "write" and e.process == 2]
        assert 2 * STEPS == len(writes)
        assert {(f"[{size}]", None, 4 * MOST_ELEMENTS)} == {
            (e.shape, e.value, len(e.elements or b"")) for e in writes
        }


def test_a_message_with_long_texts_is_recorded(tmp_path: Path):
    """A trace leaves out large frames of arrays, and keeps the frames that describe a call."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))

        def step():
            raise ValueError("a word " * FRAME_LIMIT_BYTES)

        with pytest.raises(ValueError, match="a word"):
            strategy.run(step)
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        assert Outcome.VALID is overall(judge(history))
        assert ["begin", "raise"] == [e.kind for e in history.events() if e.process == 0]
