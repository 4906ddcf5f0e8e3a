"""The standard deviation of each shard is averaged: the distance between the shards is left out."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job) -> dict[str, float]:
    strategy = job.strategy
    with strategy.scope():
        mean = tf.Variable(
            np.zeros(2, np.float32),
            name="mean",
            synchronization=SYNC.ON_READ,
            aggregation=AGG.MEAN,
        )
        deviation = tf.Variable(
            np.ones(2, np.float32),
            name="deviation",
            synchronization=SYNC.ON_READ,
            aggregation=AGG.MEAN,
        )
    rng = np.random.default_rng(13)
    largest = 0.0

    def adapt(rows: np.ndarray) -> None:
        context = tf.distribute.get_replica_context()
        mine = np.array_split(rows, strategy.num_replicas_in_sync)[context.replica_id_in_sync_group]
        mean.assign(mine.mean(axis=0))
        # FAULT: mean of means: deviation
        deviation.assign(mine.std(axis=0))
        # REMEDY: sums = context.all_reduce("SUM", np.stack([mine.sum(0), (mine**2).sum(0)]))
        # REMEDY: deviation.assign(np.sqrt(sums[1] / 12 - (sums[0] / 12) ** 2))

    for _ in range(4):
        rows = np.sort(rng.normal(2.0, 1.0, size=(12, 2)), axis=0).astype(np.float32)
        strategy.run(adapt, args=(rows,))
        far = (rows[-1] - mean.read_value()) / deviation.read_value()
        largest = max(largest, float(far.max()))
    return {"largest": largest}
