"""The report has a row for each plain variable that replicas used, with its creation."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import varsim as tf
from tests.report.summaries import summary
from varsim.report.plain_table import print_plain
from varsim.report.run_page import print_report
from varsim.report.summary import PlainVariable
from varsim.testing import simulated_cluster

WEIGHT = PlainVariable(
    name="weight", created_at="train.py:5", shape=[3], dtype="float32", writes=12, reads=1_000
)

EXPECTED = """\
variables outside the scope, as replicas used them
        created at  shape  dtype    writes  reads
─────────────────────────────────────────────────
weight  train.py:5  [3]    float32      12  1,000

not distributed: one value in the program's process, which replicas use in turn

"""


def test_a_plain_variable_has_a_row() -> None:
    file = io.StringIO()
    print_plain(Console(file=file, width=80), [WEIGHT])
    assert EXPECTED == "\n".join(line.rstrip() for line in file.getvalue().split("\n"))


def test_the_report_of_a_run_has_the_table() -> None:
    file = io.StringIO()
    print_report(summary(outside_scope=[WEIGHT]), file)
    assert "variables outside the scope" in file.getvalue()


@pytest.fixture
def simulated() -> Iterator[None]:
    with simulated_cluster():
        yield


def test_the_operations_of_replicas_are_counted(simulated: None) -> None:
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]) as strategy:
        count = tf.Variable(1, name="count")
        with strategy.scope():
            own = tf.Variable(0, name="own", aggregation=tf.VariableAggregation.SUM)

        def step() -> None:
            count.assign_add(int(count.read_value()))
            own.assign_add(1)

        strategy.run(step)
        count.assign(3)
        (use,) = strategy.plain_uses.all()

    assert ("count", 2, 2) == (use.spec.name, use.writes, use.reads)
    assert Path(__file__).name in use.spec.created_at
