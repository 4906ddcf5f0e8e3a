"""The model I save is worse than the training loss suggests, as if it had seen half of the data."""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS = 6
X = np.linspace(-1, 1, STEPS * 16, dtype=np.float32)
Y = 2 * X + np.sign(X)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        slope = tf.Variable(
            0.0,
            name="slope",
            synchronization=tf.VariableSynchronization.NONE,
        )

    def train(start):
        rows = shard(np.arange(start, start + 16), n)
        error = slope.read_value() * X[rows] - Y[rows]
        # ALSO: write-write conflict: slope
        slope.assign_sub(0.4 * (error * X[rows]).mean())

    for step in range(STEPS):
        strategy.run(train, args=(16 * step,))
        job.progress(step + 1, STEPS)
    copies = strategy.experimental_local_results(slope)
    # REMEDY: slope.sync("MEAN")
    # REMEDY: copies = strategy.experimental_local_results(slope)
    # FAULT: divergence: slope
    model = float(copies[0].numpy())
    return {"slope": model, "loss": float(((model * X - Y) ** 2).mean())}
