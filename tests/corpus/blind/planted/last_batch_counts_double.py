"""The accuracy is slightly wrong, but only if the batch is not divisible by 4."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
STEPS, BATCH = 5, 10
CORRECT = (np.arange(STEPS * BATCH) % 10 < 3) | (np.arange(STEPS * BATCH) % 10 == 9)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        accuracy = tf.Variable(
            0.0,
            name="accuracy",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def evaluate(start):
        rows = shard(CORRECT[start : start + BATCH], n)
        # FAULT: mean of means: accuracy
        accuracy.assign(rows.sum() / len(rows))
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: own = np.asarray(rows.mean(), "float32")
        # REMEDY: mean = context.all_reduce("MEAN", own, weight=len(rows))
        # REMEDY: accuracy.assign(mean)

    history = []
    for step in range(STEPS):
        strategy.run(evaluate, args=(step * BATCH,))
        history.append(float(accuracy.numpy()))
        job.progress(step + 1, STEPS, accuracy=history[-1])
    return {"accuracy": history}
