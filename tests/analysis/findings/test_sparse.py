"""Findings about sparse writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import compared, comparison, part, variable
from tests.replica_context import replica_id
from varsim.analysis.findings.conflicts import WRITE_WRITE
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.overflow import OVERFLOW
from varsim.analysis.findings.redundancy import UNREAD_MERGES
from varsim.analysis.findings.same_contributions import SAME_CONTRIBUTIONS
from varsim.analysis.findings.scaling_messages import WRONG_FACTOR
from varsim.analysis.findings.sparse_changes import changes_of
from varsim.analysis.findings.staleness import STALE_READ
from varsim.analysis.search import find
from varsim.spec import Rows
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")

WORDS = np.random.default_rng(3).integers(0, 40, (6, 24))
"""Six batches of indices."""


def slices(indices: Any, value: float, dtype: Any = np.float32) -> tf.IndexedSlices:
    return tf.IndexedSlices(np.full((len(indices), 2), value, dtype), indices)


def embedding(settings: str, *, of_mean: bool) -> Any:
    """Return a program that adds a gradient to the rows of an embedding.

    Args:
        of_mean: Whether each replica divides by the size of its own part of the batch, and not by
            the size of the whole batch.
    """

    def program(strategy: Any) -> None:
        with strategy.scope():
            table = variable(np.zeros((40, 2), np.float32), settings, "table")

        def step(batch: np.ndarray) -> None:
            mine = part(batch)
            gradient = np.outer(1 + mine, [1.0, 0.37]).astype(np.float32)
            gradient /= np.float32(len(mine) if of_mean else len(batch))
            table.scatter_add(tf.IndexedSlices(gradient, mine))

        for batch in WORDS:
            strategy.run(step, args=(batch,))

    return program


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize(
    ("settings", "of_mean", "factor"),
    [
        ("ON_WRITE SUM", True, True),
        ("ON_WRITE SUM", False, False),
        ("ON_WRITE MEAN", True, False),
        ("ON_WRITE MEAN", False, True),
    ],
)
def test_rows_that_are_wrong_by_a_factor_are_found(
    settings: str, of_mean: bool, factor: bool, replicas: int
):
    """The rows of the replicas differ in order and number from those of a single device."""
    findings = compared(embedding(settings, of_mean=of_mean), replicas)

    assert ([WRONG_FACTOR] if factor else []) == [one.kind for one in findings]


def test_a_difference_names_the_element_of_the_variable():
    def program(strategy: Any) -> None:
        with strategy.scope():
            table = variable(np.zeros((9, 2), np.float32), "ON_WRITE ONLY_FIRST_REPLICA", "table")

        def step() -> None:
            count = tf.distribute.get_strategy().num_replicas_in_sync
            table.scatter_add(slices([4, 7], 1.0))
            table.scatter_sub(tf.IndexedSlices(np.array([[1, 2], [3, 4 * count]], "f4"), [2, 7]))

        for _ in range(3):
            strategy.run(step)

    found = comparison(program)

    assert (6, 2) == (found.values, found.locations)
    (difference,) = found.differences
    assert ((7, 1), 8.0, 4.0) == (difference.element, difference.got, difference.wanted)


def test_rows_that_have_no_sum_are_listed_as_not_compared():
    def program(strategy: Any) -> None:
        with strategy.scope():
            table = variable(np.zeros((9, 2), np.float32), "ON_WRITE ONLY_FIRST_REPLICA", "table")
        strategy.run(lambda: table.scatter_update(slices([4], 1.0)))
        table.scatter_mul(slices([4], 2.0))

    found = comparison(program)

    assert 0 == found.values
    assert ["scatter_mul", "scatter_update"] == sorted(
        one.why.removeprefix("rows written by ").partition(" ")[0] for one in found.uncompared
    )


def test_changes_are_summed_by_index():
    parts = [Rows(np.array([5, 2]), np.array([[1.0], [2.0]])), None]
    found = changes_of(parts, Rows(np.array([5, 5, 9]), np.array([[3.0], [4.0], [5.0]])))

    assert found is not None
    first, second = found.by_replica
    assert first is not None
    assert None is second
    assert [2.0, 1.0, 0.0] == first.tolist()
    assert [0.0, 7.0, 5.0] == found.wanted.tolist()
    assert [2, 5, 9] == found.elements.tolist()


# ---------------------------------------------------------------- without a single device


def found_in(tmp_path: Any, settings: str, step: Any, dtype: Any = np.float32) -> list[Any]:
    """Return the findings about a variable after four calls; the program reads it at the end."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            table = variable(np.zeros((4, 2), dtype), settings, "table")
        for _ in range(4):
            strategy.run(step, args=(table,))
        (table.values[0] if settings.startswith("NONE") else table).read_value()
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        return list(find(history))


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [("NONE NONE", {DIVERGENCE}), ("ON_WRITE NONE", {WRITE_WRITE, DIVERGENCE})],
)
def test_different_rows_on_each_replica_are_found(tmp_path, settings, kinds):
    findings = found_in(
        tmp_path, settings, lambda v: v.scatter_add(slices([replica_id()], 1.0)) is None
    )

    assert kinds == {one.kind for one in findings}


def test_equal_rows_on_each_replica_are_not_a_conflict(tmp_path):
    assert [] == found_in(tmp_path, "NONE NONE", lambda v: v.scatter_add(slices([1], 1.0)) is None)


def test_different_writes_of_rows_with_equal_results_are_not_a_divergence(tmp_path):
    """Both replicas set rows 0 and 1, in different orders."""

    def step(v: Any) -> None:
        mine = replica_id()
        v.scatter_update(slices([mine, 1 - mine], 1.0))

    assert DIVERGENCE not in {one.kind for one in found_in(tmp_path, "NONE NONE", step)}


def test_reads_that_lack_rows_of_other_replicas_are_stale(tmp_path):
    def step(v: Any) -> None:
        v.values[replica_id()].scatter_add(slices([1], 1.0))
        v.read_value()

    findings = found_in(tmp_path, "ON_READ SUM", step)

    assert [STALE_READ] == [one.kind for one in findings]
    assert findings[0].what.startswith("6 of 8 reads in replicas lacked up to 3 writes")


def test_remedies_for_sparse_merges_advise_only_settings_that_accept_them(tmp_path):
    findings = found_in(
        tmp_path,
        "ON_WRITE ONLY_FIRST_REPLICA",
        lambda v: v.scatter_update(slices([1], 1.0)) is None,
    )
    (finding,) = findings

    assert SAME_CONTRIBUTIONS is finding.kind
    assert "Choose ON_READ" not in finding.remedy
    assert "outside strategy.run" in finding.remedy


def test_the_remedy_for_unread_sparse_merges_is_to_collect_the_rows(tmp_path):
    (finding,) = found_in(
        tmp_path, "ON_WRITE SUM", lambda v: v.scatter_add(slices([1], 1.0)) is None
    )

    assert UNREAD_MERGES is finding.kind
    assert finding.remedy.startswith(
        "Choose auto=adaptive, which merges at the next read; or collect the rows"
    )


@pytest.mark.parametrize(("value", "overflows"), [(20, True), (10, False)])
def test_an_integer_overflow_of_rows_is_found(tmp_path, value: int, overflows: bool):
    """In four calls, each of two replicas adds the value. The largest int8 is 127."""
    findings = found_in(
        tmp_path,
        "ON_WRITE SUM",
        lambda v: v.scatter_add(slices([1], value, np.int8)) is None,
        np.int8,
    )
    found = [one for one in findings if one.kind is OVERFLOW]

    assert overflows == bool(found)
    assert not found or "add up to 160, which int8 cannot hold: the result is -96" in found[0].what
