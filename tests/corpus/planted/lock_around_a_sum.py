"""Training is slow: workers lock a counter, but each one adds to a component of its own."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        samples = tf.Variable(
            0,
            name="samples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train():
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        part = np.array_split(np.arange(128), strategy.num_replicas_in_sync)[me]
        # FAULT: lock that protects nothing
        with context.lock("samples"):
            samples.assign_add(len(part))
        # REMEDY: samples.assign_add(len(part))

    for _ in range(4):
        strategy.run(train)
    return {"samples": int(samples.read_value())}
