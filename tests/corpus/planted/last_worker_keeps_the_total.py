"""The last worker does not set its total back at the start of an epoch."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        total = tf.Variable(0.0, name="total", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)

    def epoch(values, is_first):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(values, n)[me]
        if is_first and (me < n - 1 or n == 1):
            # FAULT: partial reset: total
            total.assign(0.0)
        # REMEDY: if is_first:
        # REMEDY:     total.assign(0.0)
        total.assign_add(float(mine.sum()))

    rng, shown = np.random.default_rng(5), []
    for _ in range(4):
        for batch in range(3):
            strategy.run(epoch, args=(rng.random(12), batch == 0))
        shown.append(float(total.read_value()))
    return {"last": shown[-1]}
