"""The parts of a batch are equal, and the last rows are dropped."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(0, name="seen", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
        loss = tf.Variable(0.0, name="loss", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
    n = strategy.num_replicas_in_sync

    def evaluate(rows):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        size = len(rows) // n
        mine = rows[me * size : (me + 1) * size]
        # REMEDY: mine = np.array_split(rows, n)[me]
        loss.assign_add(float(mine.sum()))
        # FAULT: integer truncation: seen
        seen.assign_add(len(mine))

    rng = np.random.default_rng(9)
    for size in (12, 12, 10):
        strategy.run(evaluate, args=(rng.random(size),))
    return {"rows": int(seen.read_value()), "loss": float(loss.read_value())}
