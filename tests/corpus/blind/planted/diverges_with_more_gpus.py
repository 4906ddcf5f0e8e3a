"""A learning rate that works on one GPU makes the loss diverge on four GPUs."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
STEPS, BATCH = 5, 16
X = np.linspace(-1.5, 1.5, STEPS * BATCH, dtype=np.float32)
Y = 3 * X


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        slope = tf.Variable(
            np.zeros(1, np.float32),
            name="slope",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train(batch):
        rows = shard(batch, n)
        error = slope.read_value() * X[rows] - Y[rows]
        gradient = (error * X[rows]).mean(keepdims=True)
        # FAULT: scaled by the number of replicas: slope
        slope.assign_sub(np.float32(0.6) * gradient)

    order = (np.arange(STEPS * BATCH) * 7) % (STEPS * BATCH)
    for step in range(STEPS):
        strategy.run(train, args=(order[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"slope": float(slope.numpy()[0])}
