"""Gradients are averaged, but each rank draws the first weights with its own seed: no broadcast."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights, kernel = (
            tf.Variable(
                np.zeros(3, np.float32),
                name=name,
                synchronization=tf.VariableSynchronization.NONE,
                aggregation=tf.VariableAggregation.NONE,
            )
            for name in ("weights", "kernel")
        )

    def build():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: divergence: weights
        weights.assign(np.random.default_rng(me).normal(size=3).astype(np.float32))
        # FAULT: divergence: kernel
        kernel.assign(np.random.default_rng(10 + me).normal(size=3).astype(np.float32))

    def train(rows):
        context = tf.distribute.get_replica_context()
        mine = rows[context.replica_id_in_sync_group]
        step = context.all_reduce(tf.distribute.ReduceOp.MEAN, np.float32(0.1) * mine)
        weights.assign_sub(step)
        kernel.assign(kernel.read_value() - step)

    strategy.run(build)
    # REMEDY: strategy.run(build)
    # REMEDY: weights.broadcast()
    # REMEDY: kernel.broadcast()
    for rows in np.random.default_rng(4).random((5, 2, 3)).astype(np.float32):
        strategy.run(train, args=(rows,))
    return [part.numpy().tolist() for part in strategy.experimental_local_results(weights)]
