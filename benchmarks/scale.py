"""What does one more worker cost: to start, in a step that writes 1 KiB, and in memory?

Memory is the proportional set size (PSS) of a worker after some steps: its own memory and its part
of the shared memory. The step takes turns with a bare star of ROUTER and DEALER, which has as many
processes and sends the same bytes.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack
from functools import partial

from benchmarks.measure import Quartiles, Ratio, Turn, side_by_side, timed, turn_of
from benchmarks.ours import checked_turn, cluster, on_write_mean, step_of
from benchmarks.processes import leaves, own_bytes
from benchmarks.record import Rows, keep, question, show
from benchmarks.star import RawStar

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128)
SIZE_BYTES = 1024
MAX_STAR = 64  # workers of the largest star: larger stars take too long to start
MIB = 2**20

START_S, STEP_S, OWN_MIB = 6.0, 0.015, 25.0
TARGETS_HOLD_FOR = 64
STARTS_S = 1.5  # time in which clusters are started repeatedly, to show the spread of a start
MAX_STARTS = 5
ROUNDS = 10
BUDGET_S = 4.0


def starts(workers: int) -> Quartiles:
    """Return the seconds from the start of the workers until all are ready."""
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < MAX_STARTS and (not taken or time.perf_counter() - began < STARTS_S):
        with cluster(workers) as strategy:
            taken.append(timed(strategy.start))
    return Quartiles.of(taken)


def measure(workers: int, rounds: int) -> dict[str, object]:
    """Return one row of the table."""
    start = starts(workers)
    with ExitStack() as stack:
        strategy = stack.enter_context(cluster(workers))
        written = on_write_mean(strategy, 1, (SIZE_BYTES // 4,))
        turns: dict[str, Turn] = {"varsim": checked_turn(strategy, written, step_of(written))}
        memory = [own_bytes(process_id) / MIB for process_id in leaves()]
        if len(memory) != workers:
            print(f"{len(memory)} processes were found instead of {workers}", file=sys.stderr)
        if workers <= MAX_STAR:
            star = stack.enter_context(RawStar(workers))
            turns["star"] = turn_of(partial(star.round_trip, SIZE_BYTES))
        spreads = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
    step, floor = spreads["varsim"], spreads.get("star")
    return {
        "workers": workers,
        "start": start,
        "step of 1 KiB": step,
        "step per worker, µs": step.median / workers * 1e6,
        "raw star, round trip": floor,
        "varsim / star": None if floor is None else Ratio(step.median / floor.median),
        "PSS, MiB": statistics.median(memory),
    }


def judged(row: dict[str, object]) -> Rows:
    """Return a row for each target that applies to a measured row."""
    start, step, memory = row["start"], row["step of 1 KiB"], row["PSS, MiB"]
    assert isinstance(start, Quartiles)
    assert isinstance(step, Quartiles)
    assert isinstance(memory, float)
    return [
        {"target": "start / 6 s", "ratio": Ratio(start.median / START_S, 1.0)},
        {"target": "step / 15 ms", "ratio": Ratio(step.median / STEP_S, 1.0)},
        {"target": "PSS of a worker / 25 MiB", "ratio": Ratio(memory / OWN_MIB, 1.0)},
    ]


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, WORKERS).parse_args()
    rows: Rows = []
    for workers in options.workers:
        rows.append(measure(workers, options.rounds or ROUNDS))
        print(f"{workers} workers measured", file=sys.stderr)
    show("by number of workers", rows)
    for row in rows:
        if row["workers"] == TARGETS_HOLD_FOR:
            show(f"against the targets for {TARGETS_HOLD_FOR} workers", judged(row))
    if options.keep:
        keep("scale", rows)


if __name__ == "__main__":
    main()
