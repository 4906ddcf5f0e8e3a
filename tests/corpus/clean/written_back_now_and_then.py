"""Local SGD: the mean is assigned after three steps. A moving mean is fed by an all_reduce."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights, moving = (
            tf.Variable(
                np.zeros(3, np.float32),
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for name in ("weights", "moving")
        )

    def train(number, rows):
        context = tf.distribute.get_replica_context()
        mine = rows[context.replica_id_in_sync_group]
        weights.assign_sub(np.float32(0.1) * (weights.read_value() - mine))
        if number % 2:
            mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mine)
            moving.assign(np.float32(0.9) * moving.read_value() + np.float32(0.1) * mean)

    for number, rows in enumerate(np.random.default_rng(4).random((9, 2, 3)).astype(np.float32)):
        strategy.run(train, args=(number, rows))
        if number % 3 == 2:
            weights.assign(weights.read_value())
    return [weights.numpy(), moving.numpy()]
