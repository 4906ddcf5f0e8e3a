"""A counter continues from a saved number: with three workers, 36 becomes 108."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job, *, saved: int = 36):
    strategy = job.strategy
    with strategy.scope():
        # FAULT: starts at N times its initial value: seen
        seen = tf.Variable(saved, name="seen", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
        # REMEDY: seen = tf.Variable(
        # REMEDY:     0, name="seen", synchronization=SYNC.ON_READ, aggregation=AGG.SUM
        # REMEDY: )
        # REMEDY: seen.assign(saved)

    def step(batch):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        seen.assign_add(len(np.array_split(batch, n)[me]))

    for _ in range(3):
        strategy.run(step, args=(np.arange(13),))
    return {"seen": int(seen.read_value())}
