"""The last batch has fewer rows than workers. The counts of rows are small integers."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(np.ones(3, np.float32), name="weights")

    def merged(strategy, gradients):
        mean = strategy.reduce("MEAN", gradients, axis=None)
        weights.assign(weights.read_value() - np.float32(0.1) * mean)

    def step(rows):
        context = tf.distribute.get_replica_context()
        mine = np.array_split(rows, 4)[context.replica_id_in_sync_group]
        with np.errstate(all="ignore"):
            error = mine - weights.read_value()
            # FAULT: NaN or infinity
            context.merge_call(merged, args=(error.sum(axis=0) / np.float32(len(error)),))
            # REMEDY: context.merge_call(merged, args=(error.sum(axis=0),))
        return np.uint8(90 + len(mine))

    rng = np.random.default_rng(3)
    seen = []
    for size in (12, 13, 3):
        counts = strategy.run(step, args=(rng.normal(size=(size, 3)).astype(np.float32),))
        # FAULT: overflow of a sum
        seen.append(int(strategy.reduce("SUM", counts, axis=None)))
        # REMEDY: seen.append(sum(map(int, strategy.experimental_local_results(counts))))
    return {"seen": seen}
