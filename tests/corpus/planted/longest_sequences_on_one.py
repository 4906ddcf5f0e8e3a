"""The sequences are sorted by length, so an all_reduce always waits for the same worker."""

import numpy as np

import varsim as tf

REPLICAS = 2
WAITS = True
MATRIX = np.random.default_rng(0).normal(size=(40, 40))


def work(amount):
    for _ in range(amount):
        np.linalg.svd(MATRIX)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        tokens = tf.Variable(
            0,
            name="tokens",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        work(10 + 30 * me)
        tokens.assign_add(10)
        context = tf.distribute.get_replica_context()
        # FAULT: waiting for one replica
        return context.all_reduce(tf.distribute.ReduceOp.SUM, np.float32(me))

    for _ in range(12):
        strategy.run(train)
    return {"tokens": int(tokens.read_value())}
