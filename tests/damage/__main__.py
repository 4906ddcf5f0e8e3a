"""Damage many files of runs, and read them: `python -m tests.damage histories 1000`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.damage.damaged_runs import KINDS, read_damaged
from tests.damage.runs import record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = record(folder)
        found = read_damaged(options.kind, runs, folder / "damaged", options.count)
    print(f"{options.kind}: {options.count:,} damaged files; {found}")
    for wrong in found.wrong[:10]:
        print(wrong)
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
