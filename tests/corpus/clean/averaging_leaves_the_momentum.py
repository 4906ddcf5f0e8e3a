"""Local SGD averages the weights after every third step. Each momentum stays on its replica."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    none = tf.VariableAggregation.NONE
    with strategy.scope():
        weights, momentum = (
            tf.Variable(
                np.zeros(3, np.float32),
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=none,
            )
            for name in ("weights", "momentum")
        )

    def train(number, rows):
        context = tf.distribute.get_replica_context()
        slope = weights.read_value() - rows[context.replica_id_in_sync_group]
        momentum.assign(np.float32(0.9) * momentum.read_value() + slope)
        weights.assign_sub(np.float32(0.1) * momentum.read_value())
        if number % 3 == 2:
            weights.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, weights.read_value()))

    for number, rows in enumerate(np.random.default_rng(4).random((9, 2, 3)).astype(np.float32)):
        strategy.run(train, args=(number, rows))
    return [part.numpy() for part in strategy.experimental_local_results(weights)]
