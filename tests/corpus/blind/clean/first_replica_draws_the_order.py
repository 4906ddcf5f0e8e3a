"""Each replica draws a seed, but all replicas use the first replica's seed and shuffle equally."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
STEPS, BATCH = 5, 12
DATA = np.arange(STEPS * BATCH)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        order_seed = tf.Variable(
            0,
            name="order_seed",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        total = tf.Variable(
            0,
            name="total",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def work(step):
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        order_seed.assign(int(np.random.default_rng([rank, step]).integers(1, 1000)))
        order = np.random.default_rng(int(order_seed.read_value())).permutation(BATCH)
        total.assign_add(int(DATA[step * BATCH + shard(order, n)].sum()))

    for step in range(STEPS):
        strategy.run(work, args=(step,))
        job.progress(step + 1, STEPS)
    return {"total": int(total.read_value())}
