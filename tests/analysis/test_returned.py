"""The comparison of a program's results with those on a single device."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import records_of, variable
from varsim.analysis.narrow_values import rounded_alike
from varsim.analysis.returned import ReturnedValue, compare_returned


def only(got: object, wanted: object) -> ReturnedValue:
    (one,) = compare_returned({"x": got}, {"x": wanted})
    return one


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (0.5, 0.50001),
        (3, 3),
        ("text", "text"),
        ([1.0, "NaN"], [1.0, "NaN"]),
        ([0.5, "Infinity"], [0.50001, "Infinity"]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([], []),
        (True, True),
        (None, None),
    ],
)
def test_rounding_is_not_a_difference_of_results(got: object, wanted: object):
    assert (False, "") == (only(got, wanted).differs, only(got, wanted).why)


@pytest.mark.parametrize(
    ("got", "wanted", "shown"),
    [
        (0.5, 0.51, (0.5, 0.51, None)),
        ([1.0, 2.0, 3.0], [1.0, 9.0, 4.0], (2.0, 9.0, (1,))),
        ("a", "b", ("a", "b", None)),
        (True, False, (True, False, None)),
        (1.0, None, (1.0, None, None)),
        ([[1], [2, 3]], 1.0, ([[1], [2, 3]], 1.0, None)),
    ],
)
def test_a_difference_has_both_values(got: object, wanted: object, shown: tuple[object, ...]):
    one = only(got, wanted)
    assert one.differs
    assert shown == (one.got, one.wanted, one.element)


def test_a_value_that_is_not_finite_differs_from_a_finite_one():
    assert only("NaN", 0.5).differs
    assert (1,) == only([1.0, "NaN"], [1.0, 2.0]).element


def test_equal_infinities_are_not_the_shown_difference():
    (one,) = compare_returned({"v": ["-Infinity", 1.0]}, {"v": ["-Infinity", 3.0]})
    assert ((1,), 1.0, 3.0) == (one.element, one.got, one.wanted)


@pytest.mark.parametrize(
    ("got", "wanted", "differs"),
    [(1.0009765625, 1.0, False), (1.5, 1.0, True), (2.001953125, 2.0, True)],
    ids=["one step of float16", "too much", "not a number of float16 in the records"],
)
def test_a_number_that_was_read_in_float16_has_its_rounding(got, wanted, differs):
    def program(strategy: tf.distribute.MirroredStrategy) -> None:
        with strategy.scope():
            h = variable(np.float16(0), "ON_WRITE MEAN")
        for value in (1.0009765625, 1.5) if strategy.num_replicas_in_sync > 1 else (1.0, 1.0):
            strategy.run(lambda value=value: h.assign(np.float16(value)))
            h.read_value()

    with records_of(program) as (history, oracle):
        (one,) = rounded_alike([only(got, wanted)], history, oracle)
        (alone,) = rounded_alike([only(got, wanted)], history, None)
    assert (differs, True) == (one.differs, alone.differs)


def test_lists_of_different_sizes_are_not_compared():
    assert "it has the shape [2], and on a single device one number" == only([1, 2], 1).why


def test_each_replicas_value_is_compared_with_the_single_device():
    assert not only([0.5, 0.5, 0.5], [0.5]).differs
    one = only([[1, 2], [1, 5], [1, 3]], [[1, 2]])
    assert (5, 2, 1, None) == (one.got, one.wanted, one.replica, one.element)


def test_structures_are_compared_name_by_name():
    found = compare_returned({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    assert [("a.b", False), ("a.c", True)] == [(one.name, one.differs) for one in found]


@pytest.mark.parametrize(
    ("got", "wanted", "factor"),
    [
        (3.45, 0.8625, "4"),
        (2, 8, "1/4"),
        ([4.0, 8.0], [1.0, 2.0], "4"),
        ([4.0, 8.0], [1.0, 2.1], ""),
        (3.46, 0.8625, ""),
        (0.5, 0.5, ""),
        (1.0, 0.0, ""),
        ("NaN", 0.5, ""),
        ("a", "b", ""),
    ],
)
def test_a_value_that_is_a_multiple_has_the_factor(got: object, wanted: object, factor: str):
    assert factor == only(got, wanted).factor(4)


def test_an_equal_nan_is_not_the_shown_difference():
    assert (1,) == only(["NaN", 1.0, 2.0], ["NaN", 3.0, 2.0]).element
