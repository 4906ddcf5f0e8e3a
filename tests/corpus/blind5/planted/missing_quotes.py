"""The mean return of the index is off in the third digit on days with gaps in the feed; complete
days agree.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        mean_return = tf.Variable(
            0.0,
            name="index/mean_return",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
    rng = np.random.default_rng(1987)
    table = {}

    def day_return(returns):
        ctx = tf.distribute.get_replica_context()
        shard = np.array_split(returns, strategy.num_replicas_in_sync)[ctx.replica_id_in_sync_group]
        # FAULT: mean of means: index/mean_return
        mean_return.assign(np.nanmean(shard))

    for day in range(9):
        returns = rng.normal(0.05 * (day % 3), 1.0, 60)
        start = int(rng.integers(0, 60))
        returns[start : start + int(rng.integers(6, 14))] = np.nan  # the feed of a venue was down
        strategy.run(day_return, args=(returns,))
        table[f"day{day}"] = float(mean_return.numpy())
    return table
