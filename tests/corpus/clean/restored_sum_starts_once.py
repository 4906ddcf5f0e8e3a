"""A counter continues from a saved number: the assign gives each worker a part."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job, *, saved: int = 36):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(0, name="seen", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
    seen.assign(saved)

    def step(batch):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        seen.assign_add(len(np.array_split(batch, n)[me]))

    for _ in range(3):
        strategy.run(step, args=(np.arange(13),))
    return {"seen": int(seen.read_value())}
