"""How hard the tests that draw at random try: `make soak` asks for many times the usual."""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("VARSIM_TEST_EFFORT", "1"))


def many(usual: int) -> int:
    """So many examples, or seeds, in a test run; more in a soak."""
    return max(1, round(usual * EFFORT))
