"""All GPUs update a moving average of the weights, and check that their weights are equal."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weight = tf.Variable(
            np.zeros(3, np.float32), name="weight", aggregation=tf.VariableAggregation.MEAN
        )
        average = tf.Variable(
            np.zeros(3, np.float32), name="average", aggregation=tf.VariableAggregation.MEAN
        )
    data = np.random.default_rng(0).normal(size=(6, 12, 3)).astype(np.float32)

    def train(batch):
        context = tf.distribute.get_replica_context()
        part = np.array_split(batch, n)[context.replica_id_in_sync_group]
        norm = np.square(weight.read_value()).sum()
        assert np.allclose(context.all_reduce("MEAN", norm), norm)
        weight.assign_sub(0.1 * (weight.read_value() - part.mean(axis=0)))

    def follow():
        average.assign(0.9 * average.read_value() + 0.1 * weight.read_value())

    for batch in data:
        strategy.run(train, args=(batch,))
        strategy.run(follow)
    return {"average": average.numpy()}
