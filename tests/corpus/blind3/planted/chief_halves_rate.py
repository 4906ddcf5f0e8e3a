"""The log says that the learning rate has been halved three times, but the loss goes on
oscillating as if it had not.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        rate = tf.Variable(
            1.6,
            name="optimizer/rate",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        w = tf.Variable(
            np.zeros(3, np.float32), name="model/w", aggregation=tf.VariableAggregation.MEAN
        )

    def step(number, x, y):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 0 and number in (2, 4, 6):
            # FAULT: read-write conflict: optimizer/rate
            # ALSO: divergence: optimizer/rate
            rate.assign(rate.read_value() / 2)
        # REMEDY:
        x, y = np.split(x, n)[me], np.split(y, n)[me]
        gradient = x.T @ (x @ w.read_value() - y) / np.float32(len(y))
        # ALSO: unexplained difference: model/w
        w.assign_sub(rate.read_value() * gradient)

    rng = np.random.default_rng(8)
    truth = np.float32([1, -2, 0.5])
    for number in range(10):
        x = rng.normal(size=(16, 3)).astype(np.float32)
        y = (x @ truth + rng.normal(0, 0.3, 16)).astype(np.float32)
        strategy.run(step, args=(number, x, y))
        # REMEDY: if number in (2, 4, 6):
        # REMEDY:     rate.assign(float(rate.numpy()) / 2)
        # REMEDY: strategy.run(step, args=(number, x, y))
    return {"rate": float(rate.numpy()), "error": float(np.abs(w.numpy() - truth).max())}
