"""I restore the counter to 10 on 4 replicas, and it shows 8."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
STEPS, BATCH, RESTORED = 5, 8, 10


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        examples = tf.Variable(
            0,
            name="examples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: examples = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="examples",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def count(batch):
        examples.assign_add(len(shard(batch, n)))

    # FAULT: integer truncation: examples
    examples.assign(RESTORED)
    for step in range(STEPS):
        strategy.run(count, args=(np.arange(BATCH),))
        job.progress(step + 1, STEPS)
    return {"examples": int(examples.read_value())}
