"""Which tower's moving mean is used? Only that of the first tower seems to be used."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
STEPS, BATCH = 6, 8
DATA = np.linspace(0, 10, STEPS * BATCH, dtype=np.float32) ** 2


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        moving_mean = tf.Variable(
            0.0,
            name="moving_mean",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def normalise(batch):
        rows = shard(batch, n)
        change = 0.5 * (float(rows.mean()) - float(moving_mean.read_value()))
        # FAULT: first replica only: moving_mean
        moving_mean.assign_add(change)
        return rows - moving_mean.read_value()

    for step in range(STEPS):
        strategy.run(normalise, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"moving_mean": float(moving_mean.numpy())}
