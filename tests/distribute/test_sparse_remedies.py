"""Every remedy in an error of sparse writes is a program that works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.errors import Fix, MismatchError, UnsupportedOperation, VariableError
from varsim.spec import VariableAggregation, VariableSynchronization

ON_WRITE, ON_READ = VariableSynchronization.ON_WRITE, VariableSynchronization.ON_READ
SETTINGS = [
    *((one, other, (9.0, 2.0)) for one in (ON_WRITE, ON_READ) for other in VariableAggregation),
    (VariableSynchronization.NONE, VariableAggregation.SUM, (9.0, 2.0)),
    (ON_READ, VariableAggregation.NONE, 9.0),
    (ON_READ, VariableAggregation.SUM, 9.0),
    (ON_READ, VariableAggregation.MEAN, 9.0),
]
"""Synchronization, aggregation and initial value of each variable tested."""

KINDS = {"synchronization": VariableSynchronization, "aggregation": VariableAggregation}
ELEMENTS = ("batch_scatter_update", "scatter_nd_add")
OPERATIONS = ("scatter_sub", "scatter_mul", "scatter_max", "scatter_update", *ELEMENTS)
VALUES, INDICES = np.array([3, 12], np.float32), np.array([0, 0])

NAMES = {
    "tf": tf,
    "np": np,
    "rows": tf.IndexedSlices(VALUES, INDICES),
    "values": VALUES,
    "indices": INDICES,
    "changes": VALUES,
    "updates": VALUES[:1],
    "index": 0,
    "row": VALUES[0],
    "value": VALUES[0],
    "x": VALUES[0],
}
"""Name in the code of a fix -> its value in these tests."""


pytestmark = pytest.mark.usefixtures("quiet")


@dataclass(frozen=True)
class Case:
    """A variable, and whether a replica or the program writes it."""

    synchronization: Any
    aggregation: Any
    inside: bool = True
    start: Any = (9.0, 2.0)
    auto: str = "on_write"

    @property
    def is_readable(self) -> bool:
        """Return whether the variable can be read in cross-replica context."""
        if self.synchronization is ON_READ:
            return self.aggregation is not VariableAggregation.NONE
        return self.synchronization is not VariableSynchronization.NONE

    def run(self, code: str, change: str = "", **names: Any) -> tuple[Any, Any]:
        """Execute a line of code that writes a new variable `v`.

        Args:
            change: A setting with which the variable is created, such as "aggregation=SUM".
        Returns:
            The variable, and the value of the line. In a replica, this is the value of the replica
            that executed the line last. The value is None if the line was not executed in this
            process.
        """
        settings: dict[str, Any] = {one: getattr(self, one) for one in KINDS}
        if change:
            what, _, name = change.partition("=")
            settings[what] = KINDS[what][name]
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], auto=self.auto)
        with strategy.scope():
            v = tf.Variable(np.array(self.start, np.float32), name="v", **settings)
        given: list[Any] = []
        known = {**NAMES, "v": v, "strategy": strategy, **names}
        if "updates" in code:
            known["indices"] = [[0]]
        act: Callable[[], None] = lambda: given.append(eval(code, known))  # noqa: E731
        if self.inside:
            strategy.run(act)
        else:
            act()
        return v, given[-1] if given else None


def copies(v: Any) -> list[Any]:
    return [component.numpy() for component in v.values]


def execute(case: Case, code: str, fix: Fix) -> Any:
    """Return the variable after a fix: other code, or the same code with another setting."""
    is_setting = fix.change.partition("=")[0] in KINDS
    return case.run(code if is_setting else fix.change, fix.change if is_setting else "")[0]


def check(case: Case, code: str, fixes: tuple[Fix, ...]) -> None:
    """Execute each fix; check that it changes row 0 only, and that the variable can be read."""
    for fix in fixes:
        v = execute(case, code, fix)
        assert all(9.0 != np.ravel(copy)[0] for copy in copies(v)), fix
        assert all([2.0] == list(np.ravel(copy)[1:]) for copy in copies(v) if copy.ndim), fix
        if "read is then refused" in fix.gives:
            with pytest.raises(VariableError):
                v.read_value()
        elif case.is_readable:
            v.read_value()


@pytest.mark.parametrize("inside", [True, False], ids=["in_a_replica", "outside"])
@pytest.mark.parametrize(("synchronization", "aggregation", "start"), SETTINGS)
def test_each_fix_of_a_refused_sparse_write_works(
    synchronization: Any, aggregation: Any, start: Any, inside: bool
):
    case = Case(synchronization, aggregation, inside, start)
    for operation in OPERATIONS:
        code = f"v.{operation}({'indices, updates' if '_nd_' in operation else 'rows'})"
        if (error := error_of(case, code)) is not None:
            assert str(error).startswith("variable 'v' at <string>:1: ")
            has_none = start == 9.0 and operation in ELEMENTS
            assert bool(error.fixes) is not has_none, error
            check(case, code, error.fixes)


def error_of(case: Case, code: str) -> UnsupportedOperation | None:
    try:
        case.run(code)
    except UnsupportedOperation as error:
        return error
    return None


def refused(case: Case, code: str, **names: Any) -> str:
    with pytest.raises(tf.VarsimError) as caught:
        case.run(code, **names)
    return str(caught.value)


SUM_ON_WRITE = (ON_WRITE, VariableAggregation.SUM)


@pytest.mark.parametrize("inside", [True, False], ids=["in_a_replica", "outside"])
@pytest.mark.parametrize(
    ("code", "indices", "remedy", "expected"),
    [
        ("v.sparse_read(indices)", [1], "v[indices]", [2.0]),
        (
            "v.gather_nd(indices)",
            [[1], [0]],
            "v[tuple(np.moveaxis(np.asarray(indices), -1, 0))]",
            [2.0, 9.0],
        ),
        ("v[indices]", [-1], "v[-1]", 2.0),
        ("v[indices]", [-1, 0], "v.read_value()[indices]", [2.0, 9.0]),
    ],
)
def test_the_remedy_of_a_refused_read_reads_the_requested_elements(
    code: str, indices: Any, remedy: str, expected: Any, inside: bool
):
    case = Case(*SUM_ON_WRITE, inside)

    assert remedy in refused(case, code, indices=indices)
    _, read = case.run(remedy, indices=indices)
    np.testing.assert_array_equal(expected, np.asarray(read))


def test_a_slice_is_assigned_as_its_error_says():
    outside = Case(ON_READ, VariableAggregation.SUM, inside=False)
    text = refused(outside, "v[0].assign(row)")

    assert "Assign the slice in strategy.run, or a slice of a component: v.values[i]" in text
    v, _ = outside.run("strategy.run(lambda: v[0].assign(row) is None)")
    assert [[3.0, 2.0]] * 2 == [copy.tolist() for copy in copies(v)]
    v, _ = outside.run("v.values[1][0].assign(row)")
    assert [[9.0, 2.0], [3.0, 2.0]] == [copy.tolist() for copy in copies(v)]

    mirrored = Case(*SUM_ON_WRITE, inside=False)
    remedy = "component.scatter_update(tf.IndexedSlices(values, rows))"
    assert remedy in refused(mirrored, "v.values[1][0].assign(row)")
    v, _ = mirrored.run(remedy.replace("component", "v.values[1]"), rows=[0, 0])
    assert [[9.0, 2.0], [12.0, 2.0]] == [copy.tolist() for copy in copies(v)]


@pytest.mark.parametrize("auto", ["on_write", "adaptive"])
def test_the_remedy_for_a_replica_without_rows_works(auto: str):
    case = Case(VariableSynchronization.AUTO, VariableAggregation.SUM, auto=auto)
    some = "v.scatter_add(rows) if {} else {}"
    first = "tf.distribute.get_replica_context().replica_id_in_sync_group == 0"
    with pytest.raises(MismatchError) as caught:
        case.run(some.format(first, None))[0].read_value()

    remedy = "v.scatter_add(tf.IndexedSlices(values[:0], indices[:0]))"
    assert "ON_READ" not in str(caught.value).partition("created at")[2]
    assert remedy in str(caught.value)
    v, _ = case.run(some.format(first, remedy))
    assert [24.0, 2.0] == v.numpy().tolist()


def test_the_remedy_for_a_dtype_without_arithmetic_works():
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])

    def added(dtype: str) -> list[Any]:
        with strategy.scope():
            v = tf.Variable(np.zeros(2, dtype), aggregation=VariableAggregation.SUM)
        rows = tf.IndexedSlices(np.ones(1, dtype), [0])
        strategy.run(lambda: v.scatter_add(rows) is None)
        values: list[Any] = v.numpy().tolist()
        return values

    with pytest.raises(VariableError, match="Use a dtype of integers or floats"):
        added("bool")
    assert [2, 0] == added("int32")
    assert [2.0, 0.0] == added("float32")


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN"])
def test_a_dense_write_without_a_shape_has_a_remedy(
    aggregation: str,
):
    case = Case(ON_WRITE, VariableAggregation[aggregation])
    text = refused(case, "v.assign_add(tf.IndexedSlices(values, indices))")

    assert "variable 'v' at <string>:1: " in text
    remedy = "tf.IndexedSlices(values, indices, dense_shape=v.shape)"
    assert remedy in text
    v, _ = case.run(f"v.assign_add({remedy})", values=[3.0, 12.0], indices=[0, 0])
    assert 2.0 == v.numpy()[1] < v.numpy()[0]
