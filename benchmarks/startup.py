"""How long does a cluster take to start, by number of workers?

*ready* is the time from `MirroredStrategy.start`, in a program that has imported varsim, until all
workers are ready. *ended* is the time to end them. The other columns are the times to start the
same number of interpreters: plain interpreters that do nothing, and interpreters that import what a
worker needs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.measure import Quartiles, Ratio, once_each, timed
from benchmarks.ours import cluster
from benchmarks.record import Rows, keep, question, show

WORKERS = (1, 4, 16, 64)
IMPORTS = "import zmq, numpy, msgpack; print('ready', flush=True)"


def interpreters(count: int, program: str, options: Sequence[str] = ()) -> float:
    """Start interpreters at once; return the seconds until all of them have printed a line."""
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
    """A cluster that measures its own start, and keeps the times of its end."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.ends: list[float] = []

    def start(self) -> float:
        """Return the seconds until all workers are ready; then end them."""
        strategy = cluster(self._count)
        seconds = timed(strategy.start)
        self.ends.append(timed(strategy.close))
        return seconds


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, WORKERS).parse_args()
    Cluster(1).start()  # the first start does the imports
    rows: Rows = []
    for count in options.workers:
        ours = Cluster(count)
        spreads = once_each(
            {
                "varsim": ours.start,
                "plain": partial(interpreters, count, "print('ready', flush=True)", ["-I"]),
                "importing": partial(interpreters, count, IMPORTS),
            },
            rounds=options.rounds or max(2, min(7, 32 // count)),
        )
        varsim, plain = spreads["varsim"], spreads["plain"]
        rows.append(
            {
                "workers": count,
                "varsim: ready": varsim,
                "varsim: ended": Quartiles.of(ours.ends),
                "plain interpreters": plain,
                "interpreters with imports": spreads["importing"],
                "varsim / plain": Ratio(varsim.median / plain.median),
            }
        )
        print(f"{count} workers measured", file=sys.stderr)
    show("start-up: median (quartiles)", rows)
    if options.keep:
        keep("startup", rows)


if __name__ == "__main__":
    main()
