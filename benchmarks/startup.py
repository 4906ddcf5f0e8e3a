"""How long does a cluster take to start, by number of workers?

From `MirroredStrategy.start` in a program that has imported varsim, until all workers have said
that they are ready; and to end again. Beside it, for the same number of processes: plain
interpreters that do nothing, and plain interpreters that import what a worker needs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

import varsim as tf
from benchmarks.measure import Rows, Spread, arguments, keep, show, side_by_side, timed

WORKERS = (1, 2, 4, 16, 64)
IMPORTS = "import zmq, numpy, msgpack; print('ready', flush=True)"


def interpreters(count: int, program: str, options: Sequence[str] = ()) -> float:
    """Seconds until so many interpreters have said something, started all at once."""
    start = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, *options, "-c", program], stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    took = time.perf_counter() - start
    for process in processes:
        process.communicate()
    return took


class Cluster:
    """A cluster that measures its own start, and keeps how long its end took."""

    def __init__(self, count: int) -> None:
        self._devices = [f"cpu:{i}" for i in range(count)]
        self.ends: list[float] = []

    def start(self) -> float:
        """Seconds from asking for the workers until all are ready; ends them again."""
        strategy = tf.distribute.MirroredStrategy(devices=self._devices)
        seconds = timed(strategy.start)
        self.ends.append(timed(strategy.close))
        return seconds


def main() -> None:
    """Measures, prints, and keeps if asked."""
    options = arguments(__doc__ or "", WORKERS)
    Cluster(1).start()  # imports, once
    rows: Rows = []
    for count in options.workers:
        cluster = Cluster(count)
        spreads = side_by_side(
            {
                "varsim": cluster.start,
                "plain": partial(interpreters, count, "print('ready', flush=True)", ["-I"]),
                "importing": partial(interpreters, count, IMPORTS),
            },
            rounds=options.rounds or max(2, min(9, 32 // count)),
        )
        rows.append(
            {
                "workers": count,
                "varsim: ready": spreads["varsim"],
                "varsim: ended": Spread.of(cluster.ends),
                "plain interpreters": spreads["plain"],
                "interpreters with imports": spreads["importing"],
            }
        )
        show(f"start-up, {count} workers", rows[-1:])
    show("start-up: median (quartiles)", rows)
    if options.keep:
        keep("startup", rows)


if __name__ == "__main__":
    main()
