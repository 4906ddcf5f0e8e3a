"""Counting the hits sends a message for every step and replica. Is this necessary?"""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS, BATCH = 10, 20
HIT = np.arange(STEPS * BATCH) % 3 == 0


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def add(count):
        # FAULT: merges that are never read: hits
        hits.assign_add(count)

    def evaluate(batch):
        add(int(shard(batch, n).sum()))

    for step in range(STEPS):
        strategy.run(evaluate, args=(HIT[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"hits": int(hits.numpy())}
