"""A count in my histogram is negative. How can that be?"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        histogram = tf.Variable(
            np.zeros(4, np.int8),
            name="histogram",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: histogram = tf.Variable(
        # REMEDY:     np.zeros(4, np.int64),
        # REMEDY:     name="histogram",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        bins = (np.arange(12) * (number + me + 1)) % 4
        histogram.assign_add(np.bincount(bins, minlength=4).astype(np.int8))
        # REMEDY: histogram.assign_add(np.bincount(bins, minlength=4))

    for number in range(8):
        strategy.run(step, args=(number,))
    # FAULT: overflow of a sum: histogram
    counts = np.asarray(histogram.read_value())
    return {"counts": counts.tolist(), "total": int(counts.astype(np.int64).sum())}
