"""The weights are ON_READ, but after each step the program reads their mean and assigns it."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3, np.float32),
            name="weights",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        # REMEDY: weights = tf.Variable(
        # REMEDY:     np.zeros(3, np.float32),
        # REMEDY:     name="weights",
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def train(rows):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        weights.assign_sub(np.float32(0.1) * (weights.read_value() - rows[me]))

    for rows in np.random.default_rng(4).random((6, 2, 3)).astype(np.float32):
        strategy.run(train, args=(rows,))
        # FAULT: manual synchronisation after every write: weights
        weights.assign(weights.read_value())
        # REMEDY:
    return weights.numpy()
