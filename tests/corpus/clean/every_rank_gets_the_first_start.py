"""Each rank draws weights and gets those of rank 0; each has an own seed that counts the steps."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights, seed, offset, scale = (
            tf.Variable(
                np.zeros(3, np.float32),
                name=name,
                synchronization=tf.VariableSynchronization.NONE,
                aggregation=tf.VariableAggregation.NONE,
            )
            for name in ("weights", "seed", "offset", "scale")
        )

    def build():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        weights.assign(np.random.default_rng(me).normal(size=3).astype(np.float32))
        weights.broadcast(root=0)
        seed.assign(np.full(3, 100 * me, np.float32))

    def train(number, rows):
        context = tf.distribute.get_replica_context()
        mine = rows[context.replica_id_in_sync_group]
        step = context.all_reduce(tf.distribute.ReduceOp.MEAN, np.float32(0.1) * mine)
        weights.assign_sub(step)
        seed.assign_add(np.ones(3, np.float32))
        for own, value in ((offset, mine), (scale, mine * mine)):
            own.assign(value)

    strategy.run(build)
    for number, rows in enumerate(np.random.default_rng(4).random((4, 2, 3)).astype(np.float32)):
        strategy.run(train, args=(number, rows))
    return [part.numpy().tolist() for part in strategy.experimental_local_results(weights)]
