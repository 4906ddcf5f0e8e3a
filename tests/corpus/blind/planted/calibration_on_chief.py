"""The chief calibrates the loss scale before each step, but the other workers seem to ignore it."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS = 5
DATA = np.linspace(1, 4, STEPS * 12, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        loss_scale = tf.Variable(
            1.0,
            name="loss_scale",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def calibrate(batch):
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 0:
            # ALSO: divergence: loss_scale
            loss_scale.assign(float(np.abs(batch).max()))

    def train(batch):
        rows = shard(batch, n)
        # FAULT: stale read: loss_scale
        scale = loss_scale.read_value()
        weight.assign_sub(0.5 * ((weight.read_value() - rows) / scale).mean())

    for step in range(STEPS):
        batch = DATA[12 * step : 12 * step + 12]
        strategy.run(calibrate, args=(batch,))
        # REMEDY: loss_scale.assign(float(np.abs(batch).max()))
        strategy.run(train, args=(batch,))
        job.progress(step + 1, STEPS)
    return {"weight": float(weight.numpy())}
