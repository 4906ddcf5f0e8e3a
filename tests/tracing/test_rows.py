"""A history has the rows of sparse writes, with the same limits as other values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.testing import simulated_cluster
from varsim.tracing.history import Event, open_history
from varsim.tracing.merge import merge
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES, READ_LIMIT_BYTES
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
NONE, SUM, MEAN, FIRST = tf.VariableAggregation
ON_WRITE = tf.VariableSynchronization.ON_WRITE


def slices(indices: list[int], width: int, first: float) -> tf.IndexedSlices:
    values = first + np.arange(len(indices) * width, dtype=np.float32)
    return tf.IndexedSlices(values.reshape(len(indices), width), indices)


def recorded(folder: Path, aggregation, *, width: int = 2, level: str = "ops") -> list[Event]:
    """Record a run with sparse writes, check its verdict, and return its writes and commits.

    Replica i writes rows 2 and i. Then the program writes row 0 of all components, and row 1 of
    component 1.
    """
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1"], trace=TraceOptions(folder, level)
        )
        with strategy.scope():
            table = tf.Variable(
                np.zeros((3, width), np.float32), synchronization=ON_WRITE, aggregation=aggregation
            )

        def step():
            table.scatter_add(slices([2, replica_id()], width, replica_id() + 1.0))

        strategy.run(step)
        table.scatter_sub(slices([0], width, 5.0))
        table.values[1].scatter_mul(slices([1], width, 6.0))
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        assert Outcome.INVALID not in {one.outcome for one in judge(history)}
        return [one for one in history.events() if one.kind in {"write", "commit"}]


def rows(event: Event) -> tuple[str, list[int] | None, list[list[float]] | None]:
    """Return the operation, the indices and the values of an event."""
    if event.indices is None or event.value is None:
        return str(event.operation), None, None
    values = np.frombuffer(event.value, event.dtype).reshape(json.loads(event.shape))
    return str(event.operation), np.frombuffer(event.indices, np.int64).tolist(), values.tolist()


def test_writes_and_commits_have_their_rows(tmp_path: Path):
    events = recorded(tmp_path, MEAN)

    assert [
        ("write", 0, "scatter_add", [2, 0], [[1.0, 2.0], [3.0, 4.0]]),
        ("write", 1, "scatter_add", [2, 1], [[2.0, 3.0], [4.0, 5.0]]),
        ("commit", -1, "scatter_add", [2, 0, 2, 1],
         [[0.5, 1.0], [1.5, 2.0], [1.0, 1.5], [2.0, 2.5]]),
        ("write", -1, "scatter_sub", [0], [[5.0, 6.0]]),
        ("commit", -1, "scatter_sub", [0], [[5.0, 6.0]]),
        ("write", -1, "scatter_mul", [1], [[6.0, 7.0]]),
        ("commit", -1, "scatter_mul", [1], [[6.0, 7.0]]),
    ] == [(one.kind, one.process, *rows(one)) for one in events]  # fmt: skip
    assert [None] * 5 + [1, 1] == [one.replica for one in events]


def test_local_writes_have_their_rows(tmp_path: Path):
    local = [one for one in recorded(tmp_path, NONE) if one.process >= 0]

    assert [
        (0, 0, "scatter_add", [2, 0], [[1.0, 2.0], [3.0, 4.0]]),
        (1, 1, "scatter_add", [2, 1], [[2.0, 3.0], [4.0, 5.0]]),
    ] == [(one.process, one.replica, *rows(one)) for one in local]


def test_rows_that_are_not_sent_are_recorded(tmp_path: Path):
    """With ONLY_FIRST_REPLICA, replica 1 does not send its rows."""
    first, second, commit, *_ = recorded(tmp_path, FIRST)

    assert ("scatter_add", [2, 1], [[2.0, 3.0], [4.0, 5.0]]) == rows(second)
    assert rows(first) == rows(commit)


def test_large_rows_that_are_not_sent_have_only_a_digest(tmp_path: Path):
    width = READ_LIMIT_BYTES // 8
    first, second, commit, *_ = recorded(tmp_path, FIRST, width=width)

    assert None is second.value is second.indices
    assert None not in {second.digest, first.digest}
    assert second.digest != first.digest == commit.digest
    assert f"[2, {width}]" == second.shape


@pytest.mark.parametrize(("level", "is_recorded"), [("ops", False), ("messages", True)])
@pytest.mark.parametrize("aggregation", [NONE, SUM])
def test_rows_above_the_limit_are_not_recorded(
    tmp_path: Path, aggregation, level: str, is_recorded: bool
):
    """With `trace: messages` all rows are recorded."""
    width = FRAME_LIMIT_BYTES // 4 + 1
    events = recorded(tmp_path, aggregation, width=width, level=level)

    assert {is_recorded} == {one.value is not None for one in events}
    assert {is_recorded} == {one.indices is not None for one in events}
    assert {"float32"} == {one.dtype for one in events}
