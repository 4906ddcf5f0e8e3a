"""I feed 96 samples, but the counter shows 48."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
STEPS, BATCH = 6, 16


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        samples = tf.Variable(
            0.0,
            name="samples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def count(batch):
        rows = shard(batch, n)
        # FAULT: scaled by the number of replicas: samples
        samples.assign_add(float(len(rows)))

    for step in range(STEPS):
        strategy.run(count, args=(np.arange(step * BATCH, (step + 1) * BATCH),))
        job.progress(step + 1, STEPS)
    return {"samples": float(samples.read_value())}
