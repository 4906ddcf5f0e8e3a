"""Both GPUs take the same time for a step."""

import numpy as np

import varsim as tf

REPLICAS = 2
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
        work(20)
        weight.assign_add(0.1)
        return float(weight.read_value())

    for _ in range(12):
        strategy.run(train)
