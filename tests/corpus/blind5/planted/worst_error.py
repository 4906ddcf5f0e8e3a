"""The alarm level (1.2 times the largest reconstruction error of normal data) gives far too many
alarms.
"""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(15)
    basis, _ = np.linalg.qr(rng.normal(size=(10, 3)))
    with strategy.scope():
        worst = tf.Variable(
            0.0, dtype=tf.float64, name="worst_error", aggregation=tf.VariableAggregation.MEAN
        )

    @tf.function
    def calibrate(windows):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = windows[me :: strategy.num_replicas_in_sync]
        residual = mine - (mine @ basis) @ basis.T
        # FAULT: mean of means: worst_error
        worst.assign(np.sqrt((residual**2).sum(1)).max())
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: worst.assign(context.all_reduce("MAX", np.sqrt((residual**2).sum(1)).max()))

    levels = []
    for _ in range(8):
        windows = rng.normal(size=(72, 3)) @ basis.T + rng.normal(0, 0.1, (72, 10))
        strategy.run(calibrate, args=(windows,))
        levels.append(1.2 * float(worst.read_value()))
    test = rng.normal(size=(200, 3)) @ basis.T + rng.normal(0, 0.1, (200, 10))
    errors = np.sqrt(((test - (test @ basis) @ basis.T) ** 2).sum(1))
    return {"level": max(levels), "false_alarms": int((errors > max(levels) / 1.2).sum())}
