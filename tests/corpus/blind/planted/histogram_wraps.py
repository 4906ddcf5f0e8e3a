"""The histogram of a batch shows small numbers for its fullest bins."""

import numpy as np

import varsim as tf

REPLICAS = 4
STEPS, BATCH = 4, 600
PIXELS = (np.arange(STEPS * BATCH) ** 2) % 10 // 4


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        histogram = tf.Variable(
            np.zeros(3, np.uint8),
            name="histogram",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: histogram = tf.Variable(
        # REMEDY:     np.zeros(3, np.int64),
        # REMEDY:     name="histogram",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def bins(start):
        rows = shard(PIXELS[start : start + BATCH], n)
        # FAULT: overflow of a sum: histogram
        histogram.assign(np.bincount(rows, minlength=3).astype(np.uint8))
        # REMEDY: histogram.assign(np.bincount(rows, minlength=3))

    seen = []
    for step in range(STEPS):
        strategy.run(bins, args=(step * BATCH,))
        seen.append(histogram.numpy().tolist())
        job.progress(step + 1, STEPS)
    return {"histograms": seen}
