"""Oja's rule on the cluster finds an axis that is less accurate than that of a single machine with
the same data.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(23)
    stretch = np.diag([2.0, 1.4, 1.0, 0.8])
    with strategy.scope():
        axis = tf.Variable(
            np.full(4, 0.5),
            name="oja/axis",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def oja(samples):
        ctx = tf.distribute.get_replica_context()
        mine = np.array_split(samples, strategy.num_replicas_in_sync)[ctx.replica_id_in_sync_group]
        w = axis.numpy()
        y = mine @ w
        gradient = mine.T @ y / len(mine) - (y**2).mean() * w
        # FAULT: discarded result
        ctx.all_reduce("MEAN", gradient)
        # REMEDY: gradient = ctx.all_reduce("MEAN", gradient)
        axis.assign_add(0.15 * gradient)

    for _ in range(30):
        strategy.run(oja, args=(rng.normal(size=(18, 4)) @ stretch,))
    found = axis.numpy()
    return {"axis": found, "length": float(np.linalg.norm(found)), "leading": float(abs(found[0]))}
