"""I keep the weights local and average them myself after each step; it is slow."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS, BATCH = 6, 12
DATA = np.linspace(0, 6, STEPS * BATCH, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.NONE,
        )
        # REMEDY: weight = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="weight",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def train(batch):
        rows = shard(batch, n)
        weight.assign_sub(0.5 * (weight.read_value() - rows).mean())

    mean = tf.distribute.ReduceOp.MEAN
    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        # FAULT: manual synchronisation after every write: weight
        weight.assign(strategy.reduce(mean, weight, axis=None))
        # REMEDY:
        job.progress(step + 1, STEPS)
    return {"weight": float(strategy.experimental_local_results(weight)[0].numpy())}
