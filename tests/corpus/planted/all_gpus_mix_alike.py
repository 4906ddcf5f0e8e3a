"""Each GPU draws how it mixes its own images, and all GPUs mix as the first GPU has drawn."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        share = tf.Variable(
            np.float32(0.0),
            name="share",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        # REMEDY: share = tf.Variable(
        # REMEDY:     np.float32(0.0),
        # REMEDY:     name="share",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.NONE,
        # REMEDY: )
        filters = tf.Variable(
            np.zeros(4, np.float32), name="filters", aggregation=tf.VariableAggregation.MEAN
        )

    def train(step, images):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: first replica only: share
        share.assign(np.float32(np.random.default_rng([5, step, me]).random()))
        one, other = np.array_split(images, 3)[me]
        mixed = share.read_value() * one + (1 - share.read_value()) * other
        filters.assign_sub(np.float32(0.1) * (filters.read_value() - mixed))

    images = np.random.default_rng(0).random((12, 6, 4)).astype(np.float32)
    for step in range(12):
        strategy.run(train, args=(step, images[step]))
    return {"filters": filters.numpy()}
