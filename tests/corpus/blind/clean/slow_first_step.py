"""The second replica compiles for 20 ms in the first step, but in no later step."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
STEPS, BATCH = 9, 12
DATA = np.linspace(-1, 2, STEPS * BATCH, dtype=np.float32)
MATRIX = np.random.default_rng(0).normal(size=(40, 40))


def work(amount):
    for _ in range(amount):
        np.linalg.svd(MATRIX)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch, first):
        rows = shard(batch, n)
        gradient = (weight.read_value() - rows).mean()
        if first and tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
            work(40)
        weight.assign_sub(0.4 * gradient)

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH], step == 0))
        job.progress(step + 1, STEPS)
    return {"weight": float(weight.numpy())}
