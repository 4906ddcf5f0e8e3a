"""Is one commit of varsim slower than another?

Three clusters take turns: one of the old commit, one of the new, and a second of the old. Each pair
of turns gives a ratio new / old; the ratio old / old beside it shows what the machine alone does.
The interval holds the median of the ratios with 95 % confidence, whatever their distribution is.

    python -m benchmarks.commits OLD [NEW]      # any names that git knows; NEW is HEAD if absent
"""

from __future__ import annotations

import io
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio, Turn, steps_that_fill_a_turn
from benchmarks.peer import ROOT, Command, Peer, PeerGroup
from benchmarks.record import Rows, keep, question, show

CASES = (
    "write-1-scalar",
    "write-1000-scalars",
    "write-64KiB",
    "write-1MiB",
    "write-16MiB",
    "on-read-write-and-read",
    "outside-20-assign-adds",
    "10-all-reduces",
)
PAIRS = 60
TARGET = 1.05  # the upper end of new / old
SOURCES = ("varsim", "workers")


@dataclass(frozen=True, slots=True)
class Interval:
    """The median of some ratios, and where it lies with 95 % confidence."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Interval:
        """Return the interval between two order statistics (sign test)."""
        ordered, count = sorted(ratios), len(ratios)
        outside = 0.0
        rank = 0  # of the lower end, from 0
        for successes in range(count // 2):
            outside += 2 * math.comb(count, successes) / 2**count
            if outside > 0.05:
                break
            rank = successes + 1
        rank = max(rank - 1, 0)
        return cls(statistics.median(ordered), ordered[rank], ordered[count - 1 - rank])

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} – {self.high:.3f})"


@contextmanager
def sources(commits: Sequence[str]) -> Iterator[list[Path]]:
    """Write each commit's sources to a folder of its own, as git has them."""
    with tempfile.TemporaryDirectory(prefix="commits-") as folder:
        there: list[Path] = []
        for commit in commits:
            command = ["git", "archive", "--format=tar", commit, *SOURCES]
            packed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
            path = Path(folder) / str(len(there))
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(path, filter="data")
            there.append(path)
        yield there


def checkout(name: str, source: Path) -> Peer:
    """Return varsim from `source` as a contender."""

    def commands(workers: int, _: Path) -> list[Command]:
        words = [sys.executable, "-m", "benchmarks.peers.checkout", str(source), str(workers)]
        path = os.pathsep.join([str(source), str(source / "workers"), str(ROOT)])
        return [(words, {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"})]

    return Peer(name, "varsim", commands, has_members=False)


def paired(turns: dict[str, Turn], pairs: int) -> dict[str, list[float]]:
    """Return the median seconds of a step in each turn, by contender; the order varies."""
    steps = {name: steps_that_fill_a_turn(turn) for name, turn in turns.items()}
    most = max(steps.values())
    orders = list(permutations(turns))
    medians: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(pairs):
        for name in orders[number % len(orders)]:
            taken = turns[name](most + 1)[1:]  # the first wakes processes that slept
            medians[name].append(statistics.median(taken))
    return medians


def measure(commits: Sequence[str], cases: Sequence[str], workers: int, pairs: int) -> Rows:
    """Return a row for each case."""
    old, new = commits
    rows: Rows = []
    with sources(commits) as (old_source, new_source), ExitStack() as stack:
        peers = {
            "old": checkout(f"{old}", old_source),
            "new": checkout(f"{new}", new_source),
            "again": checkout(f"{old} again", old_source),
        }
        there = {
            name: stack.enter_context(PeerGroup(peer, workers)) for name, peer in peers.items()
        }
        for case in cases:
            found = paired({name: group.turn(case) for name, group in there.items()}, pairs)
            ratios = {
                name: Interval.of(
                    [mine / its for mine, its in zip(found[name], found["old"], strict=True)]
                )
                for name in ("new", "again")
            }
            rows.append(
                {
                    "case": case,
                    "pairs": pairs,
                    f"{old}": Quartiles.of(found["old"]),
                    f"{new}": Quartiles.of(found["new"]),
                    "new / old": str(ratios["new"]),
                    "old / old": str(ratios["again"]),
                    "upper end": Ratio(ratios["new"].high, TARGET),
                }
            )
            show(f"{new} against {old}, {workers} workers", rows[-1:])
    return rows


def main() -> None:
    """Measure, print, and keep if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("old", help="the commit to compare with")
    parser.add_argument("new", nargs="?", default="HEAD", help="the commit in question")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    options = parser.parse_args()
    rows: Rows = []
    for workers in options.workers:
        commits = (options.old, options.new)
        rows += measure(commits, options.cases, workers, options.rounds or PAIRS)
    show("all cases", rows)
    if options.keep:
        keep("commits", rows)


if __name__ == "__main__":
    main()
