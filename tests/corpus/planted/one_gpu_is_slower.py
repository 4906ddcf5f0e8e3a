"""Two GPUs train as fast as the slower GPU, so the faster GPU is idle most of the time."""

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
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        work(40 if me == 1 else 10)
        # FAULT: waiting for one replica: weight
        weight.assign_add(0.1)
        return float(weight.read_value())

    for _ in range(12):
        strategy.run(train)
