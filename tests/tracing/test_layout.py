"""The judge arranges contributions with its own code, so it finds faults of the states' code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import varsim as tf
from tests.sync.build import ADD, ASSIGN, FIRST, MEAN, SUB, SUM, array, spec
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.verdict import judge
from varsim.protocol.buckets import Bucket, arrange
from varsim.protocol.messages import Write
from varsim.spec import VariableSpec
from varsim.testing import simulated_cluster
from varsim.testing.simulation import SimulatedCluster
from varsim.tracing.history import open_history
from varsim.tracing.layout import packed
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

Arrange = Callable[[Sequence[Write], Mapping[int, VariableSpec]], tuple[Bucket, ...]]

SPECS = {
    1: spec(SUM, variable_id=1),
    2: spec(SUM, variable_id=2, shape=(2, 3)),
    3: spec(MEAN, variable_id=3, shape=(5,)),
    4: spec(FIRST, variable_id=4, dtype="float64"),
    5: spec(SUM, variable_id=5, shape=(None, 2)),
    6: spec(SUM, variable_id=6, shape=(64 * 256 + 1,)),
    7: spec(SUM, variable_id=7, shape=(0,)),
}


def wrote(number: int, operation=ADD) -> Write:
    shape = tuple(3 if size is None else size for size in SPECS[number].shape)
    return Write(number, operation, shape, "")


def indices(*numbers: int) -> list[tuple[int, ...]]:
    """Pack one write of each variable; return for each array the positions of its writes."""
    return [one.writes for one in packed([wrote(number) for number in numbers], SPECS)]


def test_values_of_one_dtype_aggregation_and_operation_share_an_array():
    (shared,) = packed([wrote(2), wrote(1), wrote(7)], SPECS)

    assert (0, 1, 2) == shared.writes
    assert ((2, 3), (), (0,)) == shared.shapes
    assert (7,) == shared.shape


def test_arrays_are_in_the_order_of_their_first_write():
    assert [(0, 3), (1,), (2,)] == indices(1, 3, 4, 2)


def test_a_second_write_of_a_variable_begins_a_new_array():
    assert [(0, 1), (2, 3)] == indices(1, 2, 1, 7)


def test_a_variable_with_an_unknown_dimension_has_its_own_array():
    assert [(0,), (1,), (2,)] == indices(1, 5, 2)


def test_a_large_value_has_its_own_array():
    assert [(0, 2), (1,)] == indices(1, 6, 2)


WRITES = st.lists(st.tuples(st.sampled_from(sorted(SPECS)), st.sampled_from([ADD, SUB, ASSIGN])))


@given(WRITES)
def test_states_and_judge_arrange_the_same_writes_in_the_same_arrays(chosen):
    writes = [wrote(*one) for one in chosen]

    assert [(one.positions, one.shape) for one in arrange(writes, SPECS)] == [
        (one.writes, one.shape) for one in packed(writes, SPECS)
    ]


# ---------------------------------------------------------------- an engine with a fault


def record(folder: Path, monkeypatch: pytest.MonkeyPatch, broken: Arrange) -> None:
    """Record a program while the states use `broken` instead of `arrange`."""
    launch = SimulatedCluster.launch

    def traced(self, given, references):
        return launch(self, replace(given, trace=TraceOptions(folder)), references)

    monkeypatch.setattr(SimulatedCluster, "launch", traced)
    for name, module in list(sys.modules.items()):
        if name.startswith("varsim.") and getattr(module, "arrange", None) is arrange:
            monkeypatch.setattr(module, "arrange", broken)
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            variables = [
                tf.Variable(0.0, name=name, aggregation=tf.VariableAggregation.SUM)
                for name in ("a", "b")
            ]

        def step() -> None:
            for number, variable in enumerate(variables):
                variable.assign_add(1.0 + number)

        strategy.run(step)
    merge(folder, folder)


def outcome(folder: Path) -> Outcome:
    with open_history(folder) as history:
        return overall(judge(history))


def test_a_record_of_states_without_a_fault_is_valid(tmp_path, monkeypatch):
    record(tmp_path, monkeypatch, arrange)

    assert Outcome.VALID is outcome(tmp_path)


def test_values_that_are_given_to_other_variables_are_detected(tmp_path, monkeypatch):
    def swaps(writes, specs):
        return tuple(
            replace(one, variable_ids=one.variable_ids[::-1].copy())
            for one in arrange(writes, specs)
        )

    record(tmp_path, monkeypatch, swaps)

    assert Outcome.INVALID is outcome(tmp_path)


def test_values_packed_in_an_undocumented_order_are_detected(tmp_path, monkeypatch):
    def reverses(writes, specs):
        return tuple(
            replace(one, positions=one.positions[::-1], variable_ids=one.variable_ids[::-1].copy())
            for one in arrange(writes, specs)
        )

    record(tmp_path, monkeypatch, reverses)

    assert Outcome.INVALID is outcome(tmp_path)


def test_values_packed_into_other_arrays_are_not_judged(tmp_path, monkeypatch):
    def parts(writes, specs):
        return tuple(
            replace(one, positions=(position,), variable_ids=array([number], np.int64), shape=())
            for one in arrange(writes, specs)
            for position, number in zip(one.positions, one.variable_ids, strict=True)
        )

    record(tmp_path, monkeypatch, parts)

    assert Outcome.UNKNOWN is outcome(tmp_path)
    with open_history(tmp_path) as history:
        (reason, *_) = {one.reason for one in judge(history)}
    assert "replica 0 has 2 arrays, where its layout has 1" in reason
