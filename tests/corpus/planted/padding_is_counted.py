"""The last batch is padded to equal parts, and the counter counts the padding."""

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
        missing = -len(rows) % n
        mine = np.array_split(np.concatenate([rows, rows[:missing]]), n)[me]
        real = np.array_split(np.arange(len(rows) + missing) < len(rows), n)[me]
        loss.assign_add(float(mine[real].sum()))
        # FAULT: counted twice: seen
        seen.assign_add(len(mine))
        # REMEDY: seen.assign_add(int(real.sum()))

    rng = np.random.default_rng(9)
    for size in (12, 12, 10):
        strategy.run(evaluate, args=(rng.random(size),))
    return {"rows": int(seen.read_value()), "loss": float(loss.read_value())}
