"""The author thinks that all_reduce changes its argument. Each worker uses its own counts."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy

    def count(words):
        context = tf.distribute.get_replica_context()
        counts = np.bincount(words[context.replica_id_in_sync_group :: 3], minlength=4)
        # FAULT: discarded result:
        context.all_reduce("SUM", counts)
        # REMEDY: counts = context.all_reduce("SUM", counts)
        return counts.astype(np.float32) / counts.sum()

    rng = np.random.default_rng(2)
    shares = [strategy.run(count, args=(rng.integers(0, 4, 30),)) for _ in range(3)]
    return {"shares": [strategy.experimental_local_results(one)[0].tolist() for one in shares]}
