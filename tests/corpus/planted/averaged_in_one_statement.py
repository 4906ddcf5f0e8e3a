"""Each step computes the new weights and averages them in the statement that assigns them."""

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
        context = tf.distribute.get_replica_context()
        slope = weights.read_value() - rows[context.replica_id_in_sync_group]
        # FAULT: manual synchronisation after every write: weights
        weights.assign(context.all_reduce("MEAN", weights.read_value() - np.float32(0.1) * slope))
        # REMEDY: weights.assign(weights.read_value() - np.float32(0.1) * slope)

    for rows in np.random.default_rng(4).random((4, 2, 3)).astype(np.float32):
        strategy.run(train, args=(rows,))
    return weights.numpy()
