"""How long does it take to make a history of a million events, and to judge it?

A cluster records steps in which every replica writes and reads ON_WRITE MEAN scalars, adds to
ON_READ counters and writes an ONLY_FIRST_REPLICA counter, until its history has a million events.
Then new processes merge the traces and examine the history. To examine a history is to judge it and
to look for findings in one pass, as the end of a run and `varsim check` do. Rows *judge* and *find*
show these two tasks separately. *processor* is the processor time, which is more reliable than
*took* on a busy machine. *peak* is the largest memory of a process that does the task, with its
interpreter and all imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import varsim as tf
from benchmarks.measure import Quartiles, Ratio, timed
from benchmarks.ours import cluster
from benchmarks.peers.checkout import LIMIT_BYTES
from benchmarks.processes import peak_bytes
from benchmarks.record import Rows, keep, question, show
from varsim.analysis.examination import examine
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.tracing.history import HISTORY, History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

EVENTS = 1_000_000
ROUNDS = 3
TARGET_S = 15.0
TARGET_BYTES = 500e6
SCALARS, COUNTERS = 20, 5
STEPS_A_READ = 10  # the program reads all counters after every 10th step
TASKS = ("merge", "examine", "judge", "find")
ALL = "merge and examine"
ROWS = {
    "merge": ("merge",),
    "examine": ("examine",),
    ALL: ("merge", "examine"),
    "judge": ("judge",),
    "find": ("find",),
}


def record(folder: Path, workers: int, events: int) -> None:
    """Run as many steps as needed for a history of `events` events, and record them."""
    options = TraceOptions(folder, limit_bytes=LIMIT_BYTES)
    with cluster(workers, trace=options) as strategy:
        with strategy.scope():
            scalars = [
                tf.Variable(0.0, name=f"w{i}", aggregation=tf.VariableAggregation.MEAN)
                for i in range(SCALARS)
            ]
            counters = [
                tf.Variable(
                    0.0,
                    name=f"c{i}",
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
                for i in range(COUNTERS)
            ]
            step = tf.Variable(
                0, name="step", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
            )

        def train() -> np.float32:
            for variable in (*scalars, *counters):
                variable.assign_add(1.0)
            step.assign_add(1)
            return np.float32(sum(variable.read_value() for variable in scalars))

        merged = SCALARS + 1
        # The events of a step. Each replica has writes and installs of merged variables, writes of
        # counters, reads, and 4 events of the call. The program has the commits.
        a_step = workers * (2 * merged + COUNTERS + SCALARS + 4) + merged
        for number in range(1, events // a_step + 2):
            strategy.run(train)
            if number % STEPS_A_READ == 0:
                for variable in counters:
                    variable.read_value()


def do(task: str, folder: Path) -> dict[str, float]:
    """Do one of the tasks in this process; return seconds, and the peak in bytes."""
    before_s = time.process_time()
    if task == "merge":
        took = timed(lambda: merge(folder, folder))
    else:
        with open_history(folder) as history:
            took = timed(lambda: _check(task, history))
    return {"took": took, "cpu": time.process_time() - before_s, "peak": peak_bytes()}


def _check(task: str, history: History) -> None:
    if task == "find":
        find(history)
        return
    verdicts = judge(history) if task == "judge" else examine(history).verdicts
    if overall(verdicts) is not Outcome.VALID:
        raise AssertionError("the history is not VALID: its time cannot be compared")


def measure(workers: int, events: int, rounds: int) -> Rows:
    """Return a row for each task, and a row for merge and examine together."""
    with tempfile.TemporaryDirectory(prefix="history-") as temporary:
        folder = Path(temporary)
        record(folder, workers, events)
        runs = [{task: _in_new_process(task, folder) for task in TASKS} for _ in range(rounds)]
        with open_history(folder) as history:
            (found,) = history.connection.execute("SELECT count(*) FROM events").fetchone()
        size_mb = (folder / HISTORY).stat().st_size / 1e6
    rows: Rows = []
    for name, tasks in ROWS.items():
        together = [[run[task] for task in tasks] for run in runs]
        peak = max(one["peak"] for run in together for one in run)
        took = Quartiles.of([sum(one["took"] for one in run) for run in together])
        processor = Quartiles.of([sum(one["cpu"] for one in run) for run in together])
        target = None if name != ALL else 1.0
        rows.append(
            {
                "workers": workers,
                "events": found,
                "history MB": size_mb,
                "work": name,
                "took": took,
                "processor": processor,
                f"this / {TARGET_S:.0f} s": Ratio(took.median / TARGET_S, target),
                "peak MB": peak / 1e6,
                "this / 500 MB": Ratio(peak / TARGET_BYTES, target),
            }
        )
    return rows


def _in_new_process(task: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.history", "--do", task, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(said)
    return result


def main() -> None:
    """Measure, print, and keep the results if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("--events", type=int, default=EVENTS, help="number of events")
    parser.add_argument("--do", nargs=2, metavar=("TASK", "FOLDER"), help="do only this task")
    options = parser.parse_args()
    if options.do:
        task, folder = options.do
        print(json.dumps(do(task, Path(folder))))
        return
    rows: Rows = []
    for workers in options.workers:
        rows += measure(workers, options.events, options.rounds or ROUNDS)
    show("a history", rows)
    if options.keep:
        keep("history", rows)


if __name__ == "__main__":
    main()
