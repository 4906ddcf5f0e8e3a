"""Gradients are accumulated on each replica and exchanged in every third step."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
STEPS, BATCH, EVERY = 9, 12, 3
DATA = np.linspace(-1, 5, STEPS * BATCH, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
        gradients = tf.Variable(
            0.0,
            name="gradients",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def accumulate(batch):
        rows = shard(batch, n)
        gradients.assign_add((weight.read_value() - rows).sum() / (BATCH * EVERY))

    def apply():
        weight.assign_sub(0.5 * gradients.read_value())
        gradients.assign(0.0)

    for step in range(STEPS):
        strategy.run(accumulate, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        if (step + 1) % EVERY == 0:
            strategy.run(apply)
        job.progress(step + 1, STEPS)
    return {"weight": float(weight.numpy())}
