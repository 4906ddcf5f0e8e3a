"""Each worker stores its position in its own shard. Is that safe?"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        cursor = tf.Variable(
            0,
            name="cursor",
            synchronization=tf.VariableSynchronization.NONE,
            aggregation=tf.VariableAggregation.NONE,
        )
        total = tf.Variable(
            0.0,
            name="total",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        start = int(cursor.read_value())
        shard = np.arange(20 + 10 * me, dtype=np.float32)
        rows = np.arange(start, start + 4) % len(shard)
        total.assign_add(float(shard[rows].sum()))
        cursor.assign((start + 4) % len(shard))

    for _ in range(9):
        strategy.run(step)
    where = [int(one.numpy()) for one in strategy.experimental_local_results(cursor)]
    return {"total": float(total.read_value()), "where": where}
