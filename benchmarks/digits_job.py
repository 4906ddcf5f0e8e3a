"""The built-in job `digits` as a program, for `digits.py`.

Called with numbers of replicas and epochs. Prints JSON: seconds since training began at the end of
each epoch, and what the training reached.
"""

from __future__ import annotations

import json
import sys
import time

import varsim as tf
from varsim.workloads import digits


def main(replicas: int, epochs: int) -> None:
    """Trains, tests, and prints."""
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
