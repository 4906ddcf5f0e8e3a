"""The AR(2) fit is right, but half of its messages carry a diagnostic that nobody remembers."""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def series(length):
    rng = np.random.default_rng(3)
    x = np.zeros(length)
    for t in range(2, length):
        x[t] = 0.6 * x[t - 1] - 0.3 * x[t - 2] + rng.normal()
    return x


def run(job: tf.Job):
    strategy = job.strategy
    x = series(486)
    lags, target = np.stack([x[1:-1], x[:-2]], axis=1)[4:], x[2:][4:]
    with strategy.scope():
        phi = tf.Variable(
            np.zeros(2), name="phi", dtype=tf.float64, aggregation=tf.VariableAggregation.MEAN
        )
        acf = tf.Variable(
            np.zeros(5),
            name="residual_acf",
            dtype=tf.float64,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def descend(lags, target):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        a, b = (np.array_split(part, strategy.num_replicas_in_sync)[me] for part in (lags, target))
        residual = b - a @ phi.numpy()
        phi.assign_add(0.2 * a.T @ residual / len(b))
        # FAULT: merges that are never read: residual_acf
        acf.assign([float((residual[k:] * residual[: len(residual) - k]).mean()) for k in range(5)])

    for _epoch in range(25):
        strategy.run(descend, args=(lags, target))
    return {"phi": phi.numpy()}
