"""Accuracy is 3.5 on 4 GPUs. Can I trust the model?"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
STEPS, BATCH = 4, 32
TRUTH = np.arange(STEPS * BATCH) % 8
GUESS = np.where(np.arange(STEPS * BATCH) % 9 == 0, -1, TRUTH)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        accuracy = tf.Variable(
            0.0,
            name="accuracy",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate(start):
        rows = shard(np.arange(start, start + BATCH), n)
        # FAULT: scaled by the number of replicas: accuracy
        accuracy.assign(float((GUESS[rows] == TRUTH[rows]).mean()))

    history = []
    for step in range(STEPS):
        strategy.run(evaluate, args=(step * BATCH,))
        history.append(float(accuracy.read_value()))
        job.progress(step + 1, STEPS, accuracy=history[-1])
    return {"accuracy": history}
