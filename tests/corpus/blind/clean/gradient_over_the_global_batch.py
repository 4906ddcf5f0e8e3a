"""Gradients are summed. Each replica divides its gradient by the size of the whole batch."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
STEPS, BATCH = 6, 7
DATA = np.tile(np.array([1, 2, 3, 4, 10, 11, 12], np.float32), STEPS)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        centre = tf.Variable(
            0.0,
            name="centre",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train(batch):
        rows = shard(batch, n)
        centre.assign_sub(0.25 * (centre.read_value() - rows).sum() / BATCH)

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"centre": float(centre.numpy())}
