"""My warm-up over the first 60 samples takes 4 times too long on 4 GPUs."""

import numpy as np

import varsim as tf

REPLICAS = 4
STEPS, BATCH = 8, 20
DATA = np.linspace(-1, 3, STEPS * BATCH, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        seen = tf.Variable(
            0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch):
        rows = shard(batch, n)
        # FAULT: stale read: seen
        warm = min(1.0, float(seen.read_value()) / 60)
        gradient = (weight.read_value() - rows).mean()
        weight.assign_sub(0.3 * warm * gradient)
        seen.assign_add(len(rows))

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"samples": int(seen.read_value()), "weight": float(weight.numpy())}
