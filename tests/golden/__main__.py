"""Compares varsim with TensorFlow in each golden case: `python -m tests.golden [ID…]`."""

from __future__ import annotations

import sys

from tests.golden.counts import run_all
from tests.golden.recorded import load


def main(parts: list[str]) -> int:
    """Run the cases whose ids contain one of the arguments, or all cases without arguments."""
    cases = [case for case in load() if not parts or any(part in case.id for part in parts)]
    counts = run_all(cases)
    print(counts)
    print(counts.unexplained())
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
