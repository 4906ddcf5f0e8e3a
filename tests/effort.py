"""How much of a test `make test` runs: the number of random examples, and which cases of many.

`make test-random` multiplies the number of examples. `make check` runs all cases.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

EFFORT = float(os.environ.get("VARSIM_TEST_EFFORT", "1"))


def many(usual: int) -> int:
    """Return `usual`, a number of examples or seeds, multiplied by VARSIM_TEST_EFFORT."""
    return max(1, round(usual * EFFORT))


def thorough(*values: Any) -> Any:
    """Return a case that `make check` runs, and `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.thorough)


def one_of(step: int, cases: Sequence[Any]) -> list[Any]:
    """Return all cases, of which `make test` runs the first of every `step`."""
    return [
        pytest.param(case, marks=[pytest.mark.thorough] * (number % step > 0))
        for number, case in enumerate(cases)
    ]
