"""In mixed precision, the total loss of each replica is finite, but the metric is inf."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS, BATCH = 5, 12
LOSSES = np.linspace(1200, 1600, STEPS * BATCH).astype(np.float16)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        loss_total = tf.Variable(
            np.float16(0),
            name="loss_total",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: loss_total = tf.Variable(
        # REMEDY:     np.float32(0),
        # REMEDY:     name="loss_total",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def evaluate(batch):
        rows = shard(batch, n)
        loss_total.assign_add(float(rows.astype(np.float32).sum()))

    for step in range(STEPS):
        strategy.run(evaluate, args=(LOSSES[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    # FAULT: overflow of a sum: loss_total
    total = float(loss_total.read_value())
    return {"mean loss": total / (STEPS * BATCH)}
