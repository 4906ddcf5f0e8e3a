"""Gradients of 40,000 elements are means over equal shards, and MEAN averages them.

The weights are too large to be recorded whole, and are compared in a sample.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
SIZE = 40_000


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(SIZE, np.float32),
            name="weights",
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(images):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.split(images, strategy.num_replicas_in_sync)[me]
        gradient = np.resize(part.mean(axis=0), SIZE)
        weights.assign_sub(0.1 * gradient)

    chance = np.random.default_rng(3)
    seen = []
    for _ in range(4):
        strategy.run(train, args=(chance.normal(size=(8, 50)).astype(np.float32),))
        seen.append(float(np.abs(weights.read_value()).sum()))
    return {"moved": seen[-1]}
