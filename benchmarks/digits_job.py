"""Run the built-in job `digits` as a program, for `digits.py`.

The arguments are the numbers of replicas and epochs. The output is JSON: the seconds since the
start of the training at the end of each epoch, and the result.
"""

from __future__ import annotations

import json
import sys
import time

import varsim as tf
from varsim.workloads import digits


def main(replicas: int, epochs: int) -> None:
    """Train, test, and print."""
    ends: list[float] = []
    with tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(replicas)]) as strategy:
        strategy.start()
        start = time.perf_counter()

        def progress(step: int, total: int, **_: float) -> None:
            if step % (total // epochs) == 0:
                ends.append(time.perf_counter() - start)

        job = tf.Job(strategy=strategy, seed=0, steps=None, progress=progress)
        reached = digits.run(job, epochs=epochs)
    print(json.dumps({"version": tf.__version__, "epoch_ends": ends, "reached": reached}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
