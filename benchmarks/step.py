"""How long does a step take that writes ON_WRITE MEAN variables, by number of workers and size?

A step is one `strategy.run` of a function that writes and returns: one variable of 8 bytes, one of
1 MiB, or 1,000 scalars. Beside it, in the same run: a bare star of ROUTER and DEALER that moves the
same bytes and does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

import varsim as tf
from benchmarks.measure import Rows, arguments, keep, show, side_by_side, timed
from benchmarks.star import Star

WORKERS = (1, 2, 4, 8)
SCALARS = 1_000
MIB = 2**20


def variables(strategy: tf.distribute.Strategy, count: int, values: int) -> list[tf.Variable]:
    """ON_WRITE MEAN variables of float64."""
    with strategy.scope():
        return [
            tf.Variable(
                np.zeros(values) if values > 1 else np.float64(0),
                synchronization=tf.VariableSynchronization.ON_WRITE,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for _ in range(count)
        ]


def step_of(written: list[tf.Variable], values: int) -> Callable[[], None]:
    """A function that writes all of them once."""
    gradient = np.ones(values) if values > 1 else np.asarray(1.0)

    def step() -> None:
        for variable in written:
            variable.assign_add(gradient)

    shipped: Callable[[], None] = tf.function(step)
    return shipped


CASES: dict[str, tuple[int, int]] = {  # name → how many variables, of how many values
    "8 B": (1, 1),
    "1 MiB": (1, MIB // 8),
    f"{SCALARS:,} scalars": (SCALARS, 1),
}


def main() -> None:
    """Measures, prints, and keeps if asked."""
    options = arguments(__doc__ or "", WORKERS)
    rows: Rows = []
    for workers in options.workers:
        devices = [f"cpu:{i}" for i in range(workers)]
        with tf.distribute.MirroredStrategy(devices=devices) as strategy, Star(workers) as star:
            for name, (count, values) in CASES.items():
                step = step_of(variables(strategy, count, values), values)
                size_bytes = 8 * count * values
                spreads = side_by_side(
                    {
                        "varsim": partial(timed, partial(strategy.run, step)),
                        "star": partial(timed, partial(star.round, size_bytes)),
                    },
                    rounds=options.rounds or (60 if size_bytes == 8 else 20),
                    warm_up=5,
                )
                varsim, floor = spreads["varsim"], spreads["star"]
                rows.append(
                    {
                        "workers": workers,
                        "step": name,
                        "varsim": varsim,
                        "bare star": floor,
                        "times the floor": varsim.median / floor.median,
                    }
                )
        show(f"a step, {workers} workers", rows[-len(CASES) :])
    show("a step: median (quartiles)", rows)
    if options.keep:
        keep("step", rows)


if __name__ == "__main__":
    main()
