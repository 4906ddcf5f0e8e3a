"""The record of a later incarnation begins with the values that the restart put back."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from varsim.analysis.lens import Moment, moments
from varsim.report.event_page import event_text
from varsim.report.lens_calls_page import print_calls
from varsim.report.page import print_page
from varsim.testing import simulated_cluster
from varsim.tracing import run_entries
from varsim.tracing.history import LEFT_OUT, RUN_KEYS, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

CALLS = 3
"""The number of calls in each of the two incarnations."""

SUM = tf.VariableAggregation.SUM
ON_READ = tf.VariableSynchronization.ON_READ


def recorded_restart(folder: Path) -> Path:
    """Record two incarnations; return the folder of the second one's history."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1", "cpu:2"], trace=TraceOptions(folder)
        )
        with strategy.scope():
            mirrored = tf.Variable(0.0, name="mirrored", aggregation=SUM)
            count = tf.Variable(1, name="count", aggregation=SUM)
            total = tf.Variable(0.0, name="total", synchronization=ON_READ, aggregation=SUM)

        def step() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            mirrored.assign_add(replica + 1.0)
            count.assign_add(1)
            total.assign_add(replica + 1.0)

        for _ in range(CALLS):
            strategy.run(step)
        strategy.restart()
        for _ in range(CALLS):
            strategy.run(step)
            mirrored.read_value()
            count.read_value()
            total.read_value()
        strategy.close()
    second = folder / "incarnation-2"
    merge(second, second)
    return second


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_restart(tmp_path_factory.mktemp("restarted"))


def test_a_record_has_the_documented_keys(record: Path):
    only_sometimes = {"policies", "policy_files", "cut_short", "hosts", "traffic", LEFT_OUT}
    with open_history(record) as history:
        assert RUN_KEYS.keys() - only_sometimes == history.run.keys()
    assert RUN_KEYS.keys() == {"schema", *run_entries.ENTRIES}
    assert all(f"| `{key}` | " in Path("docs/history.md").read_text() for key in RUN_KEYS)


def moments_of(record: Path, name: str) -> list[Moment]:
    with open_history(record) as history:
        (row,) = [one for one in history.variables.values() if one.name == name]
        return list(moments(history, row))


def test_the_first_row_of_the_lens_has_the_values_that_the_restart_put_back(record: Path):
    found = moments_of(record, "total")
    first = found[0]
    assert first.is_creation
    assert (CALLS, 18) == (first.step, first.value)
    assert [3, 6, 9] == np.ravel(first.components).tolist()
    assert [3, 4, 5, 6] == [one.step for one in found]

    out = StringIO()
    print_page(lambda console: print_calls(console, "total", found, None), out)
    assert (
        "The replicas already differ at the start of this record, after call 3; they differ at "
        "the end of 3 of 3 calls."
    ) in " ".join(out.getvalue().split())


def test_a_mirrored_variable_goes_on_with_its_value(record: Path):
    found = moments_of(record, "mirrored")
    assert [18, 24, 30, 36] == [one.value for one in found]


def test_an_event_of_a_later_incarnation_is_after_the_calls_of_the_earlier_ones(record: Path):
    with open_history(record) as history:
        lines = event_text(history, 1, 80)
    assert [f"  call       outside all calls, after call {CALLS}"] == [
        one for one in lines if one.startswith("  call")
    ]
