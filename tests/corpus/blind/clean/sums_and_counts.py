"""Accuracy over unequal shards: the sum of hits is divided once, by the sum of examples."""

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
        correct = tf.Variable(
            0,
            name="correct",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        seen = tf.Variable(
            0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate(start):
        rows = shard(CORRECT[start : start + BATCH], n)
        correct.assign_add(int(rows.sum()))
        seen.assign_add(len(rows))

    for step in range(STEPS):
        strategy.run(evaluate, args=(step * BATCH,))
        job.progress(step + 1, STEPS)
    return {"accuracy": int(correct.read_value()) / int(seen.read_value())}
