"""A counter is restored to a multiple of the number of replicas. It is read in each epoch."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
EPOCHS, STEPS, BATCH, RESTORED = 3, 2, 200, 12
LABELS = np.arange(EPOCHS * STEPS * BATCH) % 2


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        ones = tf.Variable(
            0,
            name="ones",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def count(batch):
        ones.assign_add(int(shard(batch, n).sum()))

    ones.assign(RESTORED)
    history = []
    for epoch in range(EPOCHS):
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            strategy.run(count, args=(LABELS[step * BATCH : (step + 1) * BATCH],))
            job.progress(step + 1, EPOCHS * STEPS)
        history.append(int(ones.read_value()))
    return {"ones": history}
