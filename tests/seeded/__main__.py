"""Replay a seed of the simulation: `python -m tests.seeded 17`, or many: `… --count 20000`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter

from tests.seeded.run import run_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.seeded", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--count", type=int, default=1, help="number of seeds")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    failed, began_s = [], time.perf_counter()
    for seed in range(options.seed, options.seed + options.count):
        try:
            run_seed(seed, counts)
        except Exception:  # every failure of a seed is reported
            traceback.print_exc()
            failed.append(seed)
            if len(failed) == 10:
                break
    for name, number in sorted(counts.items()):
        print(f"{number:10,} {name}")
    print(f"{options.count:,} seeds in {time.perf_counter() - began_s:.1f} s; failed: {failed}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
