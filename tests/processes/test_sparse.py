"""Sparse writes on real worker processes: recorded runs are VALID."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import varsim as tf
from tests.processes.conftest import cluster
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.cli.main import main
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")]


@pytest.mark.thorough
@pytest.mark.parametrize("aggregation", tf.VariableAggregation)
def test_a_run_with_sparse_writes_is_valid(
    aggregation: tf.VariableAggregation, tmp_path: Path
) -> None:
    with cluster(2, trace=TraceOptions(tmp_path)) as strategy:
        with strategy.scope():
            table = tf.Variable(np.zeros((3, 2), np.float32), name="table", aggregation=aggregation)
            dense = tf.Variable(0.0, name="dense", aggregation=tf.VariableAggregation.SUM)

        def step() -> float:
            me = replica_id()
            dense.assign_add(1.0)
            table.scatter_add(tf.IndexedSlices(np.ones((1 + me, 2), np.float32), [me, 0][: 1 + me]))
            dense.assign_add(2.0)
            return float(table[[0]][0, 0]) + float(dense)

        strategy.run(step)
        table.scatter_add(tf.IndexedSlices(np.ones((1, 2), np.float32), [2]))
        table.values[1].scatter_sub(tf.IndexedSlices(np.ones((1, 2), np.float32), [2]))
        assert 6.0 == dense.numpy()
        table.numpy()
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        verdicts = judge(history)

    assert {Outcome.VALID} == {one.outcome for one in verdicts}, verdicts


def test_the_judge_finds_no_fault_in_deferred_sparse_writes(tmp_path: Path) -> None:
    """An exchange may have several commits. A read returns the value after the last commit."""
    with cluster(2, trace=TraceOptions(tmp_path), auto="adaptive") as strategy:
        with strategy.scope():
            sums = tf.VariableAggregation.SUM
            table = tf.Variable(np.ones((3, 2), np.float32), name="table", aggregation=sums)

        def step() -> list[float]:
            me = replica_id()
            table.scatter_add(tf.IndexedSlices(np.ones((1 + me, 2), np.float32), [me, 0][: 1 + me]))
            table.scatter_mul(tf.IndexedSlices(np.full((1, 2), 2, np.float32), [me]))
            table.assign_add(np.full((3, 2), me, np.float32))
            return [float(row[0]) for row in table[[0, 1, 2]]]

        seen = strategy.experimental_local_results(strategy.run(step))
        assert [[7.0, 5.0, 2.0]] * 2 == list(seen)
        strategy.run(step)
        assert [[19.0, 13.0, 3.0]] * 2 == [one.numpy()[:, 0].tolist() for one in table.values]
    merge(tmp_path, tmp_path)

    with open_history(tmp_path) as history:
        verdicts = judge(history)

    assert {Outcome.VALID} == {one.outcome for one in verdicts}, verdicts


# ---------------------------------------------------------------- documented programs


def test_the_documented_program_saves_the_bytes_that_the_document_says(tmp_path: Path) -> None:
    """The program and the line of the report are in docs/python.md."""
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text("utf-8")
    text = text[text.index("\n## Sparse updates") : text.index("\n## Names of TensorFlow")]
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (line,) = re.findall(r"^    (sparse writes: .*)$", text, re.MULTILINE)
    file = tmp_path / "embedding.py"
    file.write_text(program, "utf-8")

    arguments = ["run", "--workload", str(file), "--workers", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)

    assert 0 == result.exit_code, result.output
    assert line in " ".join(result.stdout.split())
