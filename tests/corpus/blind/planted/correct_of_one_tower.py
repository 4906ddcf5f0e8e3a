"""My count of correct answers is less than a third of the count on one GPU."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
STEPS, BATCH = 5, 18
RIGHT = np.tile(np.arange(BATCH) >= 5, STEPS)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        correct = tf.Variable(
            0,
            name="correct",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def evaluate(start):
        rows = shard(RIGHT[start : start + BATCH], n)
        # FAULT: first replica only: correct
        correct.assign_add(int(rows.sum()))

    for step in range(STEPS):
        strategy.run(evaluate, args=(step * BATCH,))
        job.progress(step + 1, STEPS)
    return {"correct": int(correct.read_value())}
