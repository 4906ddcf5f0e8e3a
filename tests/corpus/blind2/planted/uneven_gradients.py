"""With batches of 10, training on four workers gives other weights than training on one.

I expected equal weights.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
ROWS = np.random.default_rng(7).normal(size=(96, 3)).astype(np.float32)
TARGETS = (ROWS @ np.array([1.5, -2.0, 0.5], np.float32) + 1.0).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    sizes = (1, 2, 2, 5) if count == 4 else (10,)
    cuts = np.concatenate([[0], np.cumsum(sizes)])
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3, np.float32),
            name="weights",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(start):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.arange(start + cuts[me], start + cuts[me + 1]) % len(ROWS)
        x, y = ROWS[rows], TARGETS[rows]
        error = x @ np.asarray(weights.read_value()) - y
        # FAULT: mean of means: weights
        weights.assign_sub((0.2 * (error[:, None] * x).mean(axis=0)).astype(np.float32))

    path = []
    for number in range(11):
        strategy.run(step, args=(10 * number,))
        path.append(float(np.linalg.norm(np.asarray(weights.read_value()))))
    return {"path": path}
