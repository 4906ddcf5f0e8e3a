"""A learning rate that works on one GPU overshoots on four GPUs. Why?"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
ROWS = np.random.default_rng(7).normal(size=(96, 3)).astype(np.float32)
TARGETS = (ROWS @ np.array([1.5, -2.0, 0.5], np.float32) + 1.0).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        kernel = tf.Variable(
            np.zeros(3, np.float32),
            name="kernel",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(start):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.arange(start, start + 16)[me::count] % len(ROWS)
        x, y = ROWS[rows], TARGETS[rows]
        gradient = 2.0 * x.T @ (x @ np.asarray(kernel.read_value()) - y) / len(x)
        # FAULT: scaled by the number of replicas: kernel
        kernel.assign_sub((0.02 * gradient).astype(np.float32))

    losses = []
    for number in range(6):
        strategy.run(step, args=(16 * number,))
        losses.append(float(np.mean((ROWS @ np.asarray(kernel.read_value()) - TARGETS) ** 2)))
    return {"losses": losses}
