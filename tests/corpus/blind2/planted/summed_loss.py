"""My reported loss is three times as high as on one device. Did training break?"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
ROWS = np.random.default_rng(7).normal(size=(96, 3)).astype(np.float32)
TARGETS = (ROWS @ np.array([1.5, -2.0, 0.5], np.float32) + 1.0).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        mean_loss = tf.Variable(
            0.0,
            name="mean_loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(start, model):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.arange(start, start + 12)[me::count] % len(ROWS)
        loss = float(np.mean((ROWS[rows] @ model - TARGETS[rows]) ** 2))
        mean_loss.assign_add(loss)

    model = np.zeros(3, np.float32)
    steps = 8
    for number in range(steps):
        strategy.run(step, args=(12 * number, model))
        model = model + np.array([0.1, -0.1, 0.05], np.float32)
    # FAULT: scaled by the number of replicas: mean_loss
    total = float(mean_loss.read_value())
    return {"loss": total / steps}
