"""Some samples are used twice: one worker moves the offset while the others still read it."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS, BATCH = 5, 12
DATA = np.arange(STEPS * BATCH + BATCH)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        offset = tf.Variable(
            0,
            name="offset",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )
        total = tf.Variable(
            0,
            name="total",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def consume():
        context = tf.distribute.get_replica_context()
        if context.replica_id_in_sync_group == n - 1:
            # FAULT: read-write conflict: offset
            offset.assign_add(BATCH // 2)
        # REMEDY:
        start = int(offset.read_value())
        total.assign_add(int(shard(DATA[start : start + BATCH], n).sum()))

    for step in range(STEPS):
        offset.assign(step * BATCH)
        # REMEDY: offset.assign(step * BATCH + BATCH // 2)
        strategy.run(consume)
        job.progress(step + 1, STEPS)
    return {"total": int(total.read_value())}
