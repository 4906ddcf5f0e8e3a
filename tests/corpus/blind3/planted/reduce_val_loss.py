"""ReduceLROnPlateau never lowers the rate: its threshold is absolute, and the validation loss
that it gets is larger than in the paper.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        val = tf.Variable(
            0.0,
            name="plateau/val_loss",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        factors = tf.Variable(
            np.full(5, 0.2, np.float32), name="factors", aggregation=tf.VariableAggregation.MEAN
        )

    def train_and_validate(x, y):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x, y = x[me::n], y[me::n]
        error = x @ factors.read_value() - y
        factors.assign_sub(np.float32(0.15) * x.T @ error / np.float32(len(y)))
        return np.float32(np.square(x @ factors.read_value() - y).mean())

    rng = np.random.default_rng(404)
    truth = rng.normal(size=5).astype(np.float32)
    rate, lowered = 0.1, []
    for epoch in range(12):
        x = rng.normal(size=(30, 5)).astype(np.float32)
        y = (x @ truth + rng.normal(0, 0.5, 30)).astype(np.float32)
        losses = strategy.run(train_and_validate, args=(x, y))
        # FAULT: scaled by the number of replicas: plateau/val_loss
        val.assign(strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None))
        # REMEDY: val.assign(strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None))
        if float(val.numpy()) < 0.45:
            rate *= 0.5
            lowered.append(epoch)
    return {"val_loss": float(val.numpy()), "lowered": lowered}
