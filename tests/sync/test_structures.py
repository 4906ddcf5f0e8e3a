"""Differences of structures are reported by path and replicas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from varsim.distribute.structure_walks import taken_apart
from varsim.protocol.parts import Combination, CombineKind
from varsim.spec import ReduceOp
from varsim.sync.structures import differences, form_of
from varsim.texts.facts import name_replicas
from varsim.texts.mismatches import MOST_DIFFERENCES, difference_lines

F = np.zeros((), np.float32)


def told(*values: Any, axis: int | None = None) -> list[str]:
    """Return the differences between the values of replicas 0, 1, and so on."""
    how = Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM)
    if axis is not None:
        how = Combination(CombineKind.ALL_GATHER, axis=axis)
    forms = {i: form_of(*taken_apart(one), how) for i, one in enumerate(values)}
    return list(difference_lines(differences(forms)))


def array(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (({"a": F, "b": F}, {"b": F, "a": F}), []),
        (({"a": F, "b": F}, {"a": F}), ["replica 1 has no 'b'"]),
        (({"a": F}, {"a": F, "b": F}, {"a": F}), ["replicas 0, 2 have no 'b'"]),
        (({"m": {"a": F, "b": F}}, {"m": {"a": F}}), ["replica 1 has no ['m']['b']"]),
        (({1: F, "1": F}, {1: F}), ["replica 1 has no '1'"]),
        (({"m": {"b": F}}, {}), ["replica 1 has no 'm'"]),
        (
            ({"m": {"loss": array(2)}}, {"m": {"loss": array(3)}}),
            ["['m']['loss']: shape (2,) on replica 0 against (3,) on replica 1"],
        ),
        (
            ([F], [array(dtype="int32")], [F]),
            ["[0]: dtype int32 on replica 1 against float32 on replicas 0, 2"],
        ),
        (
            ({"g": [F, F]}, {"g": [F, F, F]}),
            ["['g']: a list of 2 on replica 0 against a list of 3 on replica 1"],
        ),
        (({"a": F}, [F]), ["the value: a dict on replica 0 against a list of 1 on replica 1"]),
        (((F,), [F]), ["the value: a tuple of 1 on replica 0 against a list of 1 on replica 1"]),
        (({"a": F}, {"a": [F]}), ["['a']: an array on replica 0 against a list of 1 on replica 1"]),
        ((array(2), F), ["the value: shape (2,) on replica 0 against () on replica 1"]),
    ],
)
def test_a_difference_is_reported_by_its_path(values: Any, expected: list[str]) -> None:
    assert expected == told(*values)


def test_sizes_along_the_axis_of_a_gather_may_differ() -> None:
    assert [] == told(array(2, 3), array(5, 3), axis=0)
    assert ["the value: shape (any, 3) on replica 0 against (any, 4) on replica 1"] == told(
        array(2, 3), array(5, 4), axis=0
    )


def test_only_the_first_of_many_differences_are_reported() -> None:
    many = {f"layer {i}": F for i in range(100)}

    lines = told(many, {})
    assert MOST_DIFFERENCES + 1 == len(lines)
    assert f"… and {100 - MOST_DIFFERENCES} more differences" == lines[-1]


@pytest.mark.parametrize(
    ("replica_ids", "expected"),
    [
        ((0,), "replica 0"),
        ((0, 1), "replicas 0, 1"),
        ((1, 2, 3, 4, 6), "replicas 1–4, 6"),
        ((6, 0, 2, 1), "replicas 0–2, 6"),
        ((3, 4, 7, 9, 10, 11), "replicas 3, 4, 7, 9–11"),
    ],
)
def test_replicas_are_named_by_ranges(replica_ids: tuple[int, ...], expected: str) -> None:
    assert expected == name_replicas(replica_ids)
