"""Is one git commit of varsim slower than another?

Three clusters take turns: one of the old commit, one of the new commit, and another one of the old
commit. Each round gives a ratio new / old, and a ratio old / old, which shows the differences that
come from the machine alone. Two starts of the same commit differ by several per cent, so all
clusters are started several times. Each median of ratios is shown with an interval that contains it
with 95 % confidence, for any distribution.

    python -m benchmarks.commits OLD [NEW]      # any names that git knows; NEW is HEAD if absent

With --record, all clusters record their runs at level `ops`: what does a record cost now?
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio, Turn, steps_that_fill_a_turn
from benchmarks.peer import ROOT, Command, Peer, PeerGroup
from benchmarks.record import Rows, keep, question, show
from varsim.tracing.trace import OPS

CASES = (
    "write-1-scalar",
    "write-1000-scalars",
    "write-64KiB",
    "write-1MiB",
    "write-16MiB",
    "on-read-write-and-read",
    "outside-20-assign-adds",
    "10-all-reduces",
    "digits-epoch",
)
PAIRS = 60
STARTS = 6  # number of starts, among which the pairs are divided
TARGET = 1.05  # largest allowed upper end of the interval of new / old
SOURCES = ("varsim", "workers")
OLD, NEW, AGAIN = "old", "new", "old again"

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Interval:
    """The median of some ratios, with its 95 % confidence interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Interval:
        """Return the interval between two order statistics (sign test)."""
        ordered, count = sorted(ratios), len(ratios)
        outside = 0.0
        rank = 0  # the rank of the lower end, counted from 0
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
    """Write the committed sources of each commit to a folder of its own; yield the folders."""
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


def checkout(name: str, source: Path, *, is_recorded: bool = False) -> Peer:
    """Return varsim from `source` as a contender."""

    def commands(workers: int, _: Path) -> list[Command]:
        words = [sys.executable, "-m", "benchmarks.peers.checkout", str(source), str(workers)]
        words += [OPS] if is_recorded else []
        path = os.pathsep.join([str(source), str(source / "workers"), str(ROOT)])
        return [(words, {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"})]

    return Peer(name, "varsim", commands, has_members=False)


def paired(turns: dict[str, Turn], pairs: int) -> Iterator[dict[str, float]]:
    """For each round, yield each contender's median seconds per step.

    The order in which the contenders run changes from round to round.
    """
    steps = max(steps_that_fill_a_turn(turn) for turn in turns.values())
    orders = list(permutations(turns))
    for number in range(pairs):
        medians = {}
        for name in orders[number % len(orders)]:
            taken = turns[name](steps + 1)[1:]  # the first wakes processes that slept
            medians[name] = statistics.median(taken)
        yield medians


def row_of(case: str, commits: Sequence[str], found: Sequence[Mapping[str, float]]) -> Row:
    """Return the row for a case, from its pairs."""
    old, new = commits
    ratios = {
        name: Interval.of([pair[name] / pair[OLD] for pair in found]) for name in (NEW, AGAIN)
    }
    return {
        "case": case,
        "pairs": len(found),
        old: Quartiles.of([pair[OLD] for pair in found]),
        new: Quartiles.of([pair[NEW] for pair in found]),
        "new / old": str(ratios[NEW]),
        "old / old": str(ratios[AGAIN]),
        "upper end of new / old": Ratio(ratios[NEW].high, TARGET),
    }


def measure(
    commits: Sequence[str],
    cases: Sequence[str],
    workers: int,
    pairs: int,
    *,
    is_recorded: bool = False,
) -> Rows:
    """Return a row for each case."""
    found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    with sources(commits) as (old, new):
        peers = {
            name: checkout(name, source, is_recorded=is_recorded)
            for name, source in ((OLD, old), (NEW, new), (AGAIN, old))
        }
        for start in range(STARTS):
            with ExitStack() as stack:
                names = orders_of_start(start)
                there = {
                    name: stack.enter_context(PeerGroup(peers[name], workers)) for name in names
                }
                for case in cases:
                    turns = {name: group.turn(case) for name, group in there.items()}
                    found[case] += paired(turns, math.ceil(pairs / STARTS))
            print(f"start {start + 1} of {STARTS} is done", file=sys.stderr)
    return [row_of(case, commits, found[case]) for case in cases]


def orders_of_start(start: int) -> tuple[str, ...]:
    """Return the contenders in the order in which the start with this number starts them."""
    orders = list(permutations((OLD, NEW, AGAIN)))
    return orders[start % len(orders)]


def main() -> None:
    """Measure, print, and keep if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("old", help="the commit to compare with")
    parser.add_argument("new", nargs="?", default="HEAD", help="the commit in question")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--record", action="store_true", help="record the runs, at level ops")
    options = parser.parse_args()
    rows: Rows = []
    for workers in options.workers:
        commits = (options.old, options.new)
        rows += measure(
            commits,
            options.cases,
            workers,
            options.rounds or PAIRS,
            is_recorded=options.record,
        )
    show("all cases, recorded at level ops" if options.record else "all cases", rows)
    if options.keep:
        keep("recorded-commits" if options.record else "commits", rows)


if __name__ == "__main__":
    main()
