"""I train on three workers, but the model I save seems to have learnt from a third of the data."""

import numpy as np

import varsim as tf

REPLICAS = 3
ROWS = np.random.default_rng(7).normal(size=(96, 3)).astype(np.float32)
TARGETS = (ROWS @ np.array([1.5, -2.0, 0.5], np.float32) + 1.0).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3, np.float32),
            name="weights",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        # REMEDY: weights = tf.Variable(
        # REMEDY:     np.zeros(3, np.float32),
        # REMEDY:     name="weights",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def step(start):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.arange(start, start + 12)[me::3] % len(ROWS)
        x, y = ROWS[rows], TARGETS[rows]
        # ALSO: stale read: weights
        now = np.asarray(weights.read_value())
        gradient = 2.0 * x.T @ (x @ now - y) / len(x)
        # ALSO: write-write conflict: weights
        weights.assign_sub((0.1 * gradient).astype(np.float32))

    for number in range(8):
        strategy.run(step, args=(12 * number,))
    # FAULT: divergence: weights
    model = np.asarray(weights.read_value())
    return {"weights": model.tolist(), "loss": float(np.mean((ROWS @ model - TARGETS) ** 2))}
