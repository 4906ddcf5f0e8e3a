"""The format of values in texts."""

from __future__ import annotations

import numpy as np
import pytest

from varsim.spec import Array
from varsim.texts.facts import share, shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.asarray(0.1, np.float32), "0.1"),
        (np.asarray(0.1, np.float64), "0.1"),
        (np.asarray(3, np.int32), "3"),
        (np.asarray(True), "True"),
        (np.asarray([[0.1, 2.0]], np.float32), "[[0.1, 2.0]]"),
        (np.zeros((2, 0)), "[[], []]"),
        (np.zeros((3, 4), np.float32), "float32[3, 4]"),
    ],
)
def test_a_value_has_the_digits_of_its_dtype(value: Array, expected: str):
    assert expected == shown(value)


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [
        (0, 1, "0 of 1 read has"),
        (1, 1, "1 of 1 read has"),
        (1, 41, "1 of 41 reads has"),
        (1_000, 1_000, "1,000 of 1,000 reads have"),
    ],
)
def test_the_verb_after_a_share_agrees_with_its_number(count: int, total: int, expected: str):
    assert expected == share(count, total, "read", ("has", "have"))
