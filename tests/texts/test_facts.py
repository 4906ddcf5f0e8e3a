"""The format of values in texts."""

from __future__ import annotations

import numpy as np
import pytest

from varsim.spec import Array
from varsim.texts.facts import shown


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
