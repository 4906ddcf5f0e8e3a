"""The evaluator's loss lags behind: the trainer publishes its weights only once in an epoch."""

import numpy as np

import varsim as tf

REPLICAS = 2
EPOCH = 6


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3), name="weights", synchronization=tf.VariableSynchronization.NONE
        )

    def step(number):
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 0:
            if number % EPOCH == 0:
                weights.publish()
            # REMEDY:
            weights.assign_add(0.1 * (1.0 - weights.read_value()))
            # REMEDY: weights.assign_add(0.1 * (1.0 - weights.read_value()))
            # REMEDY: weights.publish()
            return 0.0
        # FAULT: lagging read: weights
        trained = weights.fetch(0).value
        return float(np.square(trained - 1.0).sum())

    for number in range(2 * EPOCH):
        strategy.run(step, args=(number,))
