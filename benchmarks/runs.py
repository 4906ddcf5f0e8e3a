"""How long does `varsim runs` take to read a folder of many runs?

Each run has the files of a real run of the built-in job. The runs are listed with status, mode,
size and tag, which needs `summary.json` of each run and the sizes of all files. *read* is the time
without the start of Python and the print of the table; the target is 1 s for 1,000 runs.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio, timed
from benchmarks.record import Rows, keep, question, show
from varsim.experiments.config import Experiment
from varsim.experiments.room import stored_runs
from varsim.experiments.run_list import listed
from varsim.experiments.runner import run_experiment
from varsim.tracing.history import HISTORY

RUNS = (100, 1_000)
TARGET_S = 1.0  # for 1,000 runs
ROUNDS = 5


def copies(out: Path, workers: int, count: int) -> None:
    """Fill a folder with copies of one run, without its record, which a list does not read."""
    made = Path(
        run_experiment(Experiment(workload="digits", workers=workers, out=str(out))).directory
    )
    (made / HISTORY).write_bytes(b"")
    for number in range(1, count):
        shutil.copytree(made, out / f"20260101-{number:06}-digits")


def read(out: Path) -> None:
    """Read the rows of all runs."""
    for one in stored_runs(out):
        assert listed(one).status == "done"


def measure(workers: int, count: int, rounds: int) -> dict[str, object]:
    """Return one row: the time to read the list."""
    with tempfile.TemporaryDirectory(prefix="runs-") as folder:
        out = Path(folder)
        copies(out, workers, count)
        taken = Quartiles.of([timed(lambda: read(out)) for _ in range(rounds)])
    of_target = taken.median * 1_000 / count / TARGET_S
    return {"runs": count, "read": taken, "per 1,000 runs / target": Ratio(of_target)}


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, (4,)).parse_args()
    rows: Rows = [measure(options.workers[0], count, options.rounds or ROUNDS) for count in RUNS]
    show("a list of runs: median (quartiles)", rows)
    if options.keep:
        keep("runs", rows)


if __name__ == "__main__":
    main()
