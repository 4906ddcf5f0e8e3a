"""The mean return over venues of different sizes and with gaps, weighted by the number of quotes."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        drift = tf.Variable(
            0.0, name="drift", dtype=tf.float64, aggregation=tf.VariableAggregation.MEAN
        )
    rng = np.random.default_rng(71)
    days = {}

    def estimate(returns):
        ctx = tf.distribute.get_replica_context()
        shard = np.array_split(returns, strategy.num_replicas_in_sync)[ctx.replica_id_in_sync_group]
        quoted = shard[np.isfinite(shard)]
        mean = quoted.mean() if len(quoted) else 0.0
        drift.assign(ctx.all_reduce("MEAN", np.float64(mean), weight=len(quoted)))

    for day in range(8):
        returns = rng.normal(0.1 * day, 1.0, 42)
        gap = int(rng.integers(0, 28))
        returns[gap : gap + 12] = np.nan
        strategy.run(estimate, args=(returns,))
        days[f"day{day}"] = float(drift.numpy())
        assert np.isclose(days[f"day{day}"], np.nanmean(returns))
    return days
