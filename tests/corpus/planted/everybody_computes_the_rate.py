"""All workers compute the rate by the same formula, and average their equal results."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        rate = tf.Variable(
            0.0,
            name="rate",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
        weight = tf.Variable(
            np.zeros(2, np.float32),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
    data = np.random.default_rng(3).normal(2.0, 1.0, (6, 12, 2)).astype(np.float32)

    def train(number):
        context = tf.distribute.get_replica_context()
        rows = np.array_split(data[number], 3)[context.replica_id_in_sync_group]
        # FAULT: merges of the same values: rate
        rate.assign(0.3 / (1.0 + number))
        weight.assign_sub(rate.read_value() * (weight.read_value() - rows.mean(axis=0)))

    for number in range(6):
        strategy.run(train, args=(number,))
    return {"weight": weight.numpy()}
