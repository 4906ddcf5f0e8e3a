"""From values of programs to values of JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from varsim.report.plain import digest, furthest_apart, plain
from varsim.spec import ReduceOp


class Refuses:
    """An object that cannot become an array."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no")

    def __str__(self) -> str:
        return "it"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.True_, True),
        (3, 3),
        (np.int8(3), 3),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (float("nan"), "NaN"),
        (np.float32("inf"), "Infinity"),
        (-float("inf"), "-Infinity"),
        (1 - 2j, "1-2j"),
        (ReduceOp.SUM, "SUM"),
        ((1, [np.float32(2)]), [1, [2.0]]),
        ({1: np.arange(2)}, {"1": [0, 1]}),
        (np.array(2.5), 2.5),
        (np.array([[1, np.nan]]), [[1.0, "NaN"]]),
        (Refuses(), "it"),
        (len, "<built-in function len>"),
    ],
)
def test_everything_has_a_plain_form(value: Any, expected: Any):
    result = plain(value)

    assert expected == result
    assert type(expected) is type(result)


def test_a_huge_array_becomes_a_digest():
    assert {
        "shape": [20_000],
        "elements": None,
        "minimum": 0,
        "mean": 9999.5,
        "maximum": 19_999,
    } == plain(np.arange(20_000))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1, 3]), ([1, 3], 1, 2.0, 3)),
        (np.array([True, False]), ([True, False], False, 0.5, True)),
        (np.zeros((0, 3)), ([], None, None, None)),
        (np.array(1j), ("0+1j", None, None, None)),
        (np.arange(5), (None, 0, 2.0, 4)),
        (np.array([1.0, np.nan]), ([1.0, "NaN"], "NaN", "NaN", "NaN")),
        (np.full(3, 60_000, np.float16), ([60_000.0] * 3, 60_000.0, 60_000.0, 60_000.0)),
    ],
)
def test_a_digest_says_what_is_small(array: np.ndarray, expected: tuple[Any, ...]):
    found = digest(array)

    assert expected == (found.elements, found.minimum, found.mean, found.maximum)


NAN = np.nan


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        ([1.0], (0.0, ())),
        ([1.0, 4.0, 2.0], (3.0, ())),
        ([[1, 2], [1, 5]], (3.0, (1,))),
        ([[True], [False]], (1.0, (0,))),
        ([[NAN, 1], [NAN, 1]], (0.0, (0,))),
        ([[NAN, 1], [2, 1]], ("Infinity", (0,))),
        ([[np.inf, 1], [np.inf, 2]], (1.0, (1,))),
        ([[np.inf], [-np.inf]], ("Infinity", (0,))),
        ([[3 + 4j], [0j]], (5.0, (0,))),
        ([[1, 2], [1, 2, 3]], (None, ())),
        ([[], []], (0.0, ())),
        ([[1, -3, 2], [1, -3, 2]], (0.0, (1,))),
    ],
)
def test_how_far_components_are_apart(components: list[Any], expected: Any):
    apart, places = furthest_apart([np.asarray(component) for component in components])

    assert expected == (apart, next(iter(places), ()))


def test_equal_components_are_not_apart_whatever_they_hold():
    array = np.array([NAN, np.inf])

    assert 0.0 == furthest_apart([array, array])[0]
