"""Prints how varsim compares with TensorFlow, case by case: `python -m tests.golden [ID…]`."""

from __future__ import annotations

import sys

from tests.golden.recorded import load
from tests.golden.tally import run_all


def main(parts: list[str]) -> int:
    """Runs the cases whose ids contain one of the parts; all of them if there are none."""
    cases = [case for case in load() if not parts or any(part in case.id for part in parts)]
    tally = run_all(cases)
    print(tally)
    print(tally.unexplained())
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
