"""The counts of a histogram in int32 do not overflow."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        histogram = tf.Variable(
            np.zeros(3, np.int32),
            name="histogram",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def count(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        histogram.assign(np.array([10 * number, 5, 7 * me], np.int32))
        return histogram.read_value().sum()

    for number in range(1, 6):
        strategy.run(count, args=(number,))
