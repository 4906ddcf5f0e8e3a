"""The histogram has negative counts after a while: the sum of the replicas' int8 overflows."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        histogram = tf.Variable(
            np.zeros(3, np.int8),
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

    def count(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: overflow of a sum: histogram
        histogram.assign(np.array([10 * number, 5, 7 * me], np.int8))
        # REMEDY: histogram.assign(np.array([10 * number, 5, 7 * me]))
        return histogram.read_value().sum()

    for number in range(1, 6):
        strategy.run(count, args=(number,))
