"""`varsim lens` shows who read and wrote a variable that was created outside the scope."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import varsim as tf
from varsim.cli.main import main
from varsim.testing import simulated_cluster
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions


@pytest.fixture(autouse=True)
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = TraceOptions(tmp_path)
    with (
        simulated_cluster(),
        tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=options) as strategy,
    ):
        best = tf.Variable([1.0, 2.0], name="best")

        def step() -> None:
            best.assign_add([1.0, 2.0])
            best.read_value()

        for _ in range(30):
            strategy.run(step)
    merge(tmp_path, tmp_path)


def lens(*words: str) -> str:
    result = CliRunner().invoke(main, ["lens", ".", *words])
    assert 0 == result.exit_code, result.output
    return result.output


def test_each_operation_has_a_row_with_call_replica_value_and_line() -> None:
    output = lens("best", "--at", "1")
    said = " ".join(output.split())
    rows = [line.split() for line in output.splitlines() if "assign_add" in line]
    here = Path(__file__).name

    assert "best, created outside the scope at " in said
    assert "element [1] of [2]" in said
    assert ["1", "0", "assign_add", "4"] == rows[0][1:5]
    assert "122" == rows[-1][4]
    assert here in rows[0][5]
    assert "Replica 1: 30 writes and 30 reads." in said
    assert "operations between the shown ones are left out: --all shows every" in said
    assert 60 == lens("best", "--all").count("assign_add")


def test_without_distributed_variables_a_plain_one_is_shown_also_as_json() -> None:
    told = json.loads(lens("best", "--json"))

    assert 120 == len(told)
    assert ("best", "assign_add", [2.0, 4.0]) == tuple(
        told[0][key] for key in ("variable", "operation", "value")
    )
    assert "created outside the scope" in lens()
    unknown = CliRunner().invoke(main, ["lens", ".", "rest"])
    assert "did you mean 'best'" in unknown.output
