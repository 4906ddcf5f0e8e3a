"""A norm depends on the replica's data, and the first replica's norm is used on purpose."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        norm = tf.Variable(
            np.zeros(2, np.float32),
            name="norm",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def normalise(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        estimate = np.array([number, 0.5 + me], np.float32)
        norm.assign(estimate / np.linalg.norm(estimate))
        return norm.read_value()

    for number in range(1, 9):
        strategy.run(normalise, args=(number,))
