"""After training, each inference with the moving mean sends messages to all replicas."""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS, BATCH, REQUESTS = 3, 8, 9
DATA = np.linspace(3, 5, STEPS * BATCH, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        moving_mean = tf.Variable(
            0.0,
            name="moving_mean",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch):
        rows = shard(batch, n)
        moving_mean.assign_add(0.3 * (rows.mean() - moving_mean.read_value()))

    def infer(value):
        # FAULT: reads with nothing changed: moving_mean
        return value - float(moving_mean.read_value())
        # REMEDY: return value - kept

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"answers": [infer(request) for request in range(REQUESTS)]}
    # REMEDY: kept = float(moving_mean.read_value())
    # REMEDY: return {"answers": [infer(request) for request in range(REQUESTS)]}
