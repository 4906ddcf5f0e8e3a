"""Why is logging the loss as slow as training? I only print it once, after the last step."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS, BATCH = 8, 12
DATA = np.linspace(-2, 2, STEPS * BATCH, dtype=np.float32)


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
        last_loss = tf.Variable(
            0.0,
            name="last_loss",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(batch):
        error = weight.read_value() - shard(batch, n)
        # FAULT: merges that are never read: last_loss
        last_loss.assign(float((error * error).mean()))
        weight.assign_sub(0.2 * error.mean())

    for step in range(STEPS):
        strategy.run(train, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"loss": float(last_loss.numpy()), "weight": float(weight.numpy())}
