"""Conversion of a program's values to values of JSON."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from varsim.report import json_values as shapes
from varsim.report.json_values import MAX_DEPTH, digest, furthest_apart, plain
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
def test_every_value_has_a_plain_form(value: Any, expected: Any):
    result = plain(value)

    assert expected == result
    assert type(expected) is type(result)


def test_numbers_that_standard_json_lacks_become_texts():
    value = {"a": [np.nan, (-np.inf, 1.5)], "b": 1 - 2j, "c": [None, True, 3, "x"]}
    expected = {"a": ["NaN", ["-Infinity", 1.5]], "b": "1-2j", "c": [None, True, 3, "x"]}
    assert expected == shapes.in_standard_json(value)
    assert 20_000 == len(shapes.in_standard_json([0.5] * 20_000))


class NoText:
    """An object whose `str` raises."""

    def __init__(self, kind: type[BaseException] = ValueError) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        raise self.kind


class NoMembers(Mapping[str, int]):
    """A mapping whose items cannot be read."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "no members"


@dataclass
class Answer:
    value: Any
    source: str = "the model"


class Level(IntEnum):
    HIGH = 3


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def multiplied(levels: int) -> list[Any]:
    """Return a list of 2^levels values, which are few objects."""
    value = [0, 1]
    for _ in range(levels - 1):
        value = [value, value]  # type: ignore[list-item]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"abc\x00", "b'abc\\x00'"),
        (bytes(1000), f"{bytes(40)!r}… (1,000 bytes)"),
        (np.bytes_(b"abc"), "b'abc'"),
        (10**308, 10**308),
        (10**400, "1e+400 (an integer)"),
        ([-123_456 * 10**5000], ["-1.235e+5005 (an integer)"]),
        (np.array([10**400, 1]), ["1e+400 (an integer)", 1]),
        (np.longdouble(0.5), 0.5),
        (np.array([0.5], np.longdouble), [0.5]),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.array(["2026-01-02"], "M8[ns]"), ["2026-01-02T00:00:00.000000000"]),
        (np.array([(1, 2.0)], "i4,f8"), [[1, 2.0]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({"a", 1}, [1, "a"]),
        (Level.HIGH, "HIGH"),
        ({1: 2, "1": 3, None: 4, (5, 6): 7}, {"1": 2, "1 (str)": 3, "None": 4, "[5, 6]": 7}),
        (Answer([1]), {"value": [1], "source": "the model"}),
        (NoText(), "<NoText: no text, ValueError>"),
        ([NoText(SystemExit)], ["<NoText: no text, SystemExit>"]),
        (NoText(GeneratorExit), "<NoText: no text, GeneratorExit>"),
        (ValueError(multiplied(40)), "<ValueError: no text, too many values>"),
        ({ValueError(multiplied(40)): 1}, {"<ValueError: no text, too many values>": 1}),
        (deque([multiplied(40)]), "<deque: no text, too many values>"),
        (deque([1, 2]), [1, 2]),
        (Answer(NoText()), {"value": "<NoText: no text, ValueError>", "source": "the model"}),
        (NoMembers(), "no members"),
        ("x" * 200_000, "x" * 100_000 + "… (200,000 characters)"),
    ],
)
def test_values_that_json_lacks_become_texts(value: Any, expected: Any):
    assert expected == plain(value)


def test_a_cycle_is_cut_where_it_closes():
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = [cycle, 2]
    array = np.empty(1, object)
    array[0] = array
    twice = [1]

    assert {"a": 1, "self": ["… (dict that contains itself)", 2]} == plain(cycle)
    assert ["… (ndarray that contains itself)"] == plain(array)
    assert [[1], [1]] == plain([twice, twice])


def test_values_that_are_too_deep_or_too_large_are_cut(monkeypatch: pytest.MonkeyPatch):
    """A small object that contains the same object many times is cut, too."""
    monkeypatch.setattr(shapes, "MAX_VALUES", 1000)
    deep = plain(nested(10_000))
    for _ in range(MAX_DEPTH):
        (deep,) = deep
    assert f"… (list, more than {MAX_DEPTH} deep)" == deep

    long = plain([0] * 1500)
    assert "… and 501 more" == long[-1]
    again: Any = [0]
    for _ in range(40):
        again = [again, again]
    assert len(json.dumps(plain(again))) < 20_000


def test_a_container_that_occurs_often_is_converted_once():
    seen: list[object] = []
    leaf = object()
    value: list[Any] = [leaf] * 16
    for _ in range(13):
        value = [value, value]

    converted = plain(value, lambda one: seen.append(one) or "x")

    assert 16 == len(seen)
    assert 2**17 == json.dumps(converted).count("x")


def test_a_container_that_occurs_again_is_cut_if_too_many_values_are_before_it(
    monkeypatch: pytest.MonkeyPatch,
):
    row = [0] * 16
    monkeypatch.setattr(shapes, "MAX_VALUES", 36)
    assert [[row, row], "… and 1 more"] == plain([[row, row], 1])
    monkeypatch.setattr(shapes, "MAX_VALUES", 35)
    assert [[row, [*row[1:], "… and 1 more"]], "… and 1 more"] == plain([[row, row], 1])


def test_ctrl_c_ends_the_conversion():
    with pytest.raises(KeyboardInterrupt):
        plain([NoText(KeyboardInterrupt)])


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
def test_a_digest_has_all_elements_of_small_arrays(array: np.ndarray, expected: tuple[Any, ...]):
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
def test_the_distance_of_components_is_the_largest_difference(components: list[Any], expected: Any):
    apart, indices = furthest_apart([np.asarray(component) for component in components])

    assert expected == (apart, next(iter(indices), ()))


def test_equal_components_have_the_distance_zero():
    array = np.array([NAN, np.inf])

    assert 0.0 == furthest_apart([array, array])[0]
