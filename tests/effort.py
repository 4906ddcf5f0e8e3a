"""The number of examples of random tests. `make test-random` multiplies this number."""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("VARSIM_TEST_EFFORT", "1"))


def many(usual: int) -> int:
    """Return `usual`, a number of examples or seeds, multiplied by VARSIM_TEST_EFFORT."""
    return max(1, round(usual * EFFORT))
