"""Bootstrap of the Sharpe ratio: resample number b has the seed b on any number of replicas."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
RESAMPLES = 40


def run(job: tf.Job):
    strategy = job.strategy
    returns = np.random.default_rng(0).normal(0.03, 0.8, 250)
    with strategy.scope():
        sharpe = tf.Variable(
            np.zeros(RESAMPLES),
            name="sharpe",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def resample(numbers):
        ctx = tf.distribute.get_replica_context()
        mine = numbers[ctx.replica_id_in_sync_group :: strategy.num_replicas_in_sync]
        part = np.zeros(RESAMPLES)
        for b in mine:
            rng = np.random.default_rng((2718, b))
            sample = returns[rng.integers(0, len(returns), len(returns))]
            part[b] = sample.mean() / sample.std() * np.sqrt(252)
        # ALSO: merges that are never read: sharpe
        sharpe.assign_add(part)  # elsewhere zero, so the sum puts the parts together

    for start in range(0, RESAMPLES, 8):
        strategy.run(resample, args=(np.arange(start, start + 8),))
    low, high = np.percentile(sharpe.numpy(), [5, 95])
    return {"low": float(low), "high": float(high), "median": float(np.median(sharpe.numpy()))}
