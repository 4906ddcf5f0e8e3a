"""Run bfloat16 and float8 on worker processes: exchanges, the record, and missing packages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import varsim as tf
from tests.dtypes import HAS_ML_DTYPES
from tests.processes.conftest import cluster
from tests.replica_context import replica_id
from varsim import extension_dtypes
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.cli.main import main
from varsim.errors import WorkerLost
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore::varsim.VarsimWarning"),
    pytest.mark.skipif(not HAS_ML_DTYPES, reason="needs ml_dtypes"),
]

LARGE = 100_000
"""Number of elements of a value that is large enough for shared memory, or for its own frame."""


def create_all(strategy: Any) -> tuple[Any, Any, Any]:
    with strategy.scope():
        large = tf.Variable(
            np.zeros(LARGE, tf.bfloat16), name="large", aggregation=tf.VariableAggregation.MEAN
        )
        small = tf.Variable(
            tf.zeros(3, tf.float8_e5m2), name="small", aggregation=tf.VariableAggregation.SUM
        )
        parts = tf.Variable(
            tf.zeros(2, tf.float8_e4m3fn),
            name="parts",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    return large, small, parts


@pytest.mark.parametrize("exchange", [pytest.param("star", marks=pytest.mark.thorough), "shared"])
def test_values_are_equal_with_every_exchange_and_the_record_is_valid(exchange, tmp_path: Path):
    trace = TraceOptions(tmp_path, level="messages")
    with cluster(2, exchange=exchange, trace=trace) as strategy:
        large, small, parts = create_all(strategy)

        def step(x: Any) -> Any:
            large.assign_add(np.full(LARGE, replica_id() + 1, tf.bfloat16))
            small.assign_add(x)
            parts.assign_add([1.0, replica_id()])
            large.scatter_add(tf.IndexedSlices(tf.ones(3, tf.bfloat16), [1, 1, replica_id() + 3]))
            return large.read_value()[:2]

        for _ in range(2):
            read = strategy.run(step, args=(tf.ones(3, tf.float8_e5m2),))
        assert [[3.0, 7.0]] * 2 == [one.tolist() for one in read.values]
        assert {tf.bfloat16} == {one.dtype for one in read.values}
        assert ([4.0] * 3, tf.float8_e5m2) == (small.numpy().tolist(), small.numpy().dtype)
        assert [4.0, 2.0] == parts.numpy().tolist()
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        verdicts = judge(history)
        dtypes = {row.name: row.dtype for row in history.variables.values()}
    assert {Outcome.VALID} == {one.outcome for one in verdicts}, verdicts
    assert {"large": "bfloat16", "small": "float8_e5m2", "parts": "float8_e4m3fn"} == dtypes


def test_a_worker_without_the_package_says_which_package_it_needs():
    def forget() -> None:
        if replica_id() == 1:
            sys.modules["ml_dtypes"] = None  # type: ignore[assignment]  # `import ml_dtypes` fails

    with cluster(2) as strategy:
        strategy.run(forget)
        with pytest.raises(
            WorkerLost, match=r"MissingDtype: dtype bfloat16 .*\[ml_dtypes\]\n"
        ) as lost:
            strategy.run(lambda x: x.sum(), args=(np.ones(3, tf.bfloat16),))
    Path(lost.value.log_path).unlink()


def test_the_error_of_check_names_the_missing_package(tmp_path: Path, monkeypatch):
    with cluster(1, trace=TraceOptions(tmp_path)) as strategy:
        _, small, _ = create_all(strategy)
        strategy.run(lambda: small.assign_add([1.0, 2.0, 3.0], read_value=False))
    merge(tmp_path, tmp_path)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    extension_dtypes._extension.cache_clear()

    checked = CliRunner().invoke(main, ["check", str(tmp_path)])
    extension_dtypes._extension.cache_clear()
    assert 2 == checked.exit_code
    assert "dtype bfloat16 needs the package ml_dtypes" in checked.output
    assert "Traceback" not in checked.output
