"""Run a program of varsim on hosts of a lab: a whole cluster, with workers and the program.

The arguments are the exchange, the address where the program listens, the path of the file with the
key, the number of hosts, and the number of workers. The case is the size of a value in bytes. In a
step, each replica adds a value to a variable that is synchronised at every write, with MEAN.
"""

from __future__ import annotations

import sys

from benchmarks.ours import FIRST_STEPS, cluster, on_write_mean, step_of
from benchmarks.peers.member import Step, check, serve
from varsim import __version__


def main() -> None:
    """Serve the benchmark."""
    exchange, listen, key, hosts, workers = sys.argv[1:]
    launcher = {"join": {"hosts": int(hosts), "listen": listen, "key": key}}
    with cluster(int(workers), launcher=launcher, exchange=exchange) as strategy:

        def prepare(size_bytes: str) -> Step:
            variables = on_write_mean(strategy, 1, (int(size_bytes) // 4,))
            step = step_of(variables)
            for _ in range(FIRST_STEPS):
                strategy.run(step)
            check(float(variables[0].numpy()[-1]), FIRST_STEPS * (int(workers) + 1) / 2)
            return lambda: strategy.run(step)

        serve(0, f"varsim {__version__}", prepare)


if __name__ == "__main__":
    main()
