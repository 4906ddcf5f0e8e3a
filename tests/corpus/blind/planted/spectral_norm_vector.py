"""Spectral normalisation is slow: u is sent to all replicas, although all compute the same u."""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS = 6
KERNEL = np.array([[2, 1, 0], [1, 3, 1], [0, 1, 1]], np.float32)
DATA = np.arange(STEPS * 6, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        u = tf.Variable(
            np.ones(3, np.float32),
            name="u",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        output = tf.Variable(
            0.0,
            name="output",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def forward(batch):
        product = KERNEL @ u.read_value()
        sigma = np.linalg.norm(product)
        # FAULT: merges of the same values: u
        u.assign(product / sigma)
        output.assign_add(float(shard(batch, n).sum() / sigma))

    for step in range(STEPS):
        strategy.run(forward, args=(DATA[6 * step : 6 * step + 6],))
        job.progress(step + 1, STEPS)
    return {"output": float(output.read_value()), "u": u.numpy().tolist()}
