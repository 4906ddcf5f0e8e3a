"""A staleness of 2 does not help if one GPU is always slower: the other one waits for it."""

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
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.BoundedStaleness(2),
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        for _ in range(24):
            work(40 if me == 1 else 10)
            # FAULT: waiting for one replica: weight
            weight.assign_add(0.1, read_value=False)

    strategy.run(train)
    return {"weight": float(weight.read_value())}
