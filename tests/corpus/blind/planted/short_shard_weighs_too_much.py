"""Weights after training differ from single-GPU training although I average the gradients."""

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
            aggregation=tf.VariableAggregation.MEAN,
        )

    def apply(gradient):
        # FAULT: mean of means: centre
        centre.assign_sub(0.25 * gradient)

    def train(batch):
        rows = shard(batch, n)
        apply((centre.read_value() - rows).mean())
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: own = (centre.read_value() - rows).mean()
        # REMEDY: apply(context.all_reduce("MEAN", own, weight=len(rows)))

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"centre": float(centre.numpy())}
