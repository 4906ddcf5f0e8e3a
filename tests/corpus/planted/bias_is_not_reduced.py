"""The optimizer averages the gradients of the kernel, and forgets the bias."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = {
            name: tf.Variable(
                np.float32(0.0),
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.NONE,
            )
            for name in ("kernel", "bias")
        }

    def train(rows):
        context = tf.distribute.get_replica_context()
        mine = rows[context.replica_id_in_sync_group]
        slopes = {"kernel": mine.mean(), "bias": mine.std()}
        for name in ("kernel",):
            slopes[name] = context.all_reduce(tf.distribute.ReduceOp.MEAN, slopes[name])
        # REMEDY: for name in ("kernel", "bias"):
        # REMEDY:     slopes[name] = context.all_reduce(tf.distribute.ReduceOp.MEAN, slopes[name])
        for name, weight in weights.items():
            # FAULT: divergence: bias
            weight.assign_sub(np.float32(0.1) * slopes[name])

    data = np.random.default_rng(4).random((4, 3, 6)).astype(np.float32)
    for rows in data:
        strategy.run(train, args=(rows,))
    return {
        name: [float(part.numpy()) for part in strategy.experimental_local_results(weight)]
        for name, weight in weights.items()
    }
