"""Training with two replicas gives a different result if I swap the halves of the batch."""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS = 7
DATA = np.cos(np.arange(STEPS * 8, dtype=np.float32))


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        bias = tf.Variable(
            0.0,
            name="bias",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )
        # REMEDY: bias = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="bias",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def train(batch):
        rows = shard(batch, n)
        # FAULT: write-write conflict: bias
        bias.assign_sub(0.3 * float((bias.read_value() - rows).mean()))

    for step in range(STEPS):
        strategy.run(train, args=(DATA[8 * step : 8 * step + 8],))
        job.progress(step + 1, STEPS)
    # ALSO: divergence: bias
    return {"bias": float(bias.numpy())}
