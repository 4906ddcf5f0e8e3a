"""The mean length over 4 GPUs is stored as a float."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        length = tf.Variable(
            0.0,
            name="length",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
    lengths = np.array([17, 21, 18, 31, 25, 14, 20, 23])

    def measure(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        length.assign(float(lengths[(number + me) % 8]))
        return float(length.read_value())

    for number in range(6):
        strategy.run(measure, args=(number,))
