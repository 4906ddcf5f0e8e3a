"""Replica 0 lowers the temperature in the step. The others sample with the old or the new value."""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS = 6
SCORES = np.linspace(-2, 2, 24, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        temperature = tf.Variable(
            4.0,
            name="temperature",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )
        entropy = tf.Variable(
            0.0,
            name="entropy",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def sample():
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = shard(SCORES, n)
        if rank != 0:
            rows = rows / temperature.read_value()
        else:
            # FAULT: read-write conflict: temperature
            temperature.assign(0.5)
            # REMEDY:
            rows = rows / np.float32(0.5)
        entropy.assign_add(float(np.exp(-np.abs(rows)).sum()))

    for step in range(STEPS):
        temperature.assign(4.0 - 0.5 * step)
        # REMEDY: temperature.assign(0.5)
        strategy.run(sample)
        job.progress(step + 1, STEPS)
    return {"entropy": float(entropy.read_value())}
