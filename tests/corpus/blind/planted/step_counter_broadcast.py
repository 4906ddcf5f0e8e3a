"""Profiling shows a broadcast of global_step in each step, although all counts are equal."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS, BATCH = 7, 12
DATA = np.sin(np.arange(STEPS * BATCH, dtype=np.float32))


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        global_step = tf.Variable(
            0,
            name="global_step",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch):
        rate = 0.5 / (1 + int(global_step.read_value()))
        weight.assign_sub(rate * (weight.read_value() - shard(batch, n)).mean())
        # FAULT: merges of the same values: global_step
        global_step.assign_add(1)

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"steps": int(global_step.numpy()), "weight": float(weight.numpy())}
