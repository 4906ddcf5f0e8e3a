"""The program sets the learning rate (no aggregation) between the steps; replicas only read it."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
STEPS, BATCH = 6, 12
DATA = np.cos(np.arange(STEPS * BATCH, dtype=np.float32))


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        rate = tf.Variable(
            0.0,
            name="rate",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch):
        gradient = (weight.read_value() - shard(batch, n)).mean()
        weight.assign_sub(rate.read_value() * gradient)

    for step in range(STEPS):
        rate.assign(0.5 / (step + 1))
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"weight": float(weight.numpy())}
