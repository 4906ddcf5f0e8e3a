"""Advice about a run whose returned values differ from a single device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from varsim.cli.main import main
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.testing import simulated_cluster

SCALED = """
import varsim as tf


def run(job):
    strategy = job.strategy
    with strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)
    size = 8 // strategy.num_replicas_in_sync
    strategy.run(lambda: v.assign_add(float(size)))
    return {"accuracy": float(v.numpy()) / size}
"""


@pytest.mark.thorough
def test_advice_names_a_returned_value_that_is_a_multiple(tmp_path: Path):
    program = tmp_path / "scaled.py"
    program.write_text(SCALED, "utf-8")
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload=str(program), workers=2, oracle=True, out=str(tmp_path))
        )
    plain = json.loads(CliRunner().invoke(main, ["advise", "--json", ran.directory]).output)
    assert "but accuracy, which the program returned, is a multiple" in plain["differs"]
