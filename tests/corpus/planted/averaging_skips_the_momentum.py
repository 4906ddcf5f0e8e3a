"""Local SGD averages weights and bias after every third step, and forgets the momentum."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights, momentum = (
            tf.Variable(
                np.zeros(3, np.float32),
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for name in ("weights", "momentum")
        )

    def train(rows):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        slope = weights.read_value() - rows[me]
        # FAULT: divergence: momentum
        # ALSO: stale read: momentum
        momentum.assign(np.float32(0.9) * momentum.read_value() + slope)
        # ALSO: stale read: momentum
        weights.assign_sub(np.float32(0.1) * momentum.read_value())

    for number, rows in enumerate(np.random.default_rng(4).random((9, 2, 3)).astype(np.float32)):
        strategy.run(train, args=(rows,))
        if number % 3 == 2:
            weights.assign(weights.read_value())
            # REMEDY: weights.assign(weights.read_value())
            # REMEDY: momentum.assign(momentum.read_value())
    return weights.numpy()
