"""The deepest drawdown of many simulated portfolios: a maximum over the replicas, kept in a
variable.
"""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def drawdown(paths):
    peak = np.maximum.accumulate(paths, axis=1)
    return ((peak - paths) / peak).max(axis=1)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        deepest = tf.Variable(
            0.0,
            name="deepest",
            dtype=tf.float64,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
    rng = np.random.default_rng(1929)

    @tf.function
    def examine(paths):
        ctx = tf.distribute.get_replica_context()
        mine = np.array_split(paths, strategy.num_replicas_in_sync)[ctx.replica_id_in_sync_group]
        worst = ctx.all_reduce(tf.distribute.ReduceOp.MAX, drawdown(mine).max(), name="worst")
        deepest.assign(max(float(deepest.read_value()), float(worst)))

    record = []
    for _ in range(9):
        strategy.run(examine, args=(np.exp(np.cumsum(rng.normal(0, 0.03, (36, 40)), axis=1)),))
        record.append(float(deepest.numpy()))
    return {"deepest": record[-1], "record": record}
