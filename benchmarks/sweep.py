"""How long does a sweep of 16 points take, and what does it save against a loop of commands?

The points are four modes of the built-in job `digits`, each with 1, 2, 4 and 8 workers. *sweep* is
the command `varsim sweep`, and *loop of runs* is one command `varsim run` for each point. Both keep
and judge the record of every point. *processors* is the time that all processes have computed: it
depends less on other loads of the machine. The other columns are the sums of the phases of the
points. *of 20 s* is the time of the sweep divided by its target, 20 s on two cores.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio
from benchmarks.record import Rows, keep, question, show
from varsim.experiments.store import load_summary
from varsim.report.summary import Phase

MODES = ("auto", "none", "on_read", "on_write")
WORKERS = (1, 2, 4, 8)
TARGET_S = 20.0
ROUNDS = 1  # a round takes about a minute
PHASES = (Phase.START_UP, Phase.TRAINING, Phase.MERGING, Phase.JUDGING)


def varsim(folder: str, *arguments: str) -> None:
    """Run a command of varsim in a folder."""
    command = [sys.executable, "-m", "varsim", *arguments, "--quiet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def sweep(folder: str, workers: Sequence[int]) -> None:
    """Run all points by one command."""
    varsim(folder, "sweep", f"mode={','.join(MODES)}", f"workers={','.join(map(str, workers))}")


def loop_of_runs(folder: str, workers: Sequence[int]) -> None:
    """Run each point by its own command."""
    for mode, count in itertools.product(MODES, workers):
        varsim(folder, "run", "--mode", mode, "--workers", str(count))


def measure(workers: Sequence[int], rounds: int) -> Rows:
    """Return a row for the sweep, and one for the loop; they take turns."""
    taken: dict[str, list[dict[str, float]]] = {"sweep": [], "loop of runs": []}
    for _ in range(rounds):
        for name, run in (("sweep", sweep), ("loop of runs", loop_of_runs)):
            with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
                before_s, began_s = computed_s(), time.perf_counter()
                run(folder, workers)
                seconds = {"time": time.perf_counter() - began_s}
                seconds["processors"] = computed_s() - before_s
                taken[name].append(seconds | phases(Path(folder), len(MODES) * len(workers)))
    rows: Rows = []
    for name, rounds_of_one in taken.items():
        row: dict[str, object] = {"contender": name, "points": len(MODES) * len(workers)}
        for column in rounds_of_one[0]:
            row[column] = Quartiles.of([one[column] for one in rounds_of_one])
        median_s = Quartiles.of([one["time"] for one in rounds_of_one]).median
        row["of 20 s"] = Ratio(median_s / TARGET_S, 1.0 if name == "sweep" else None)
        rows.append(row)
    return rows


def computed_s() -> float:
    """Return the processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def phases(folder: Path, points: int) -> dict[str, float]:
    """Return the sums of the phases of all runs in a folder."""
    files = [file for file in folder.rglob("summary.json") if "latest" not in str(file.parent)]
    summaries = [load_summary(file) for file in files]
    assert points == len(summaries), "each point has a run"
    assert all(one.verdict is not None for one in summaries), "each record was judged"
    return {
        phase.value: sum(one.seconds.get(phase.value, 0.0) for one in summaries) for phase in PHASES
    }


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, WORKERS).parse_args()
    rows = measure(options.workers, options.rounds or ROUNDS)
    show("points of digits", rows)
    if options.keep:
        keep("sweep", rows)


if __name__ == "__main__":
    main()
