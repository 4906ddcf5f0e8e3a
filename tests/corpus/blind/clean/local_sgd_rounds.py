"""Local SGD: after every three local steps, the program averages the copies."""

import numpy as np

import varsim as tf

REPLICAS = 2
ROUNDS, STEPS, BATCH = 3, 3, 8
DATA = np.linspace(-1, 5, ROUNDS * STEPS * BATCH, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch):
        rows = shard(batch, n)
        weight.assign_sub(0.3 * (weight.read_value() - rows).mean())

    for lap in range(ROUNDS):
        for step in range(lap * STEPS, (lap + 1) * STEPS):
            strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
            job.progress(step + 1, ROUNDS * STEPS)
        average = weight.read_value()
        weight.assign(average)
    return {"weight": float(average)}
