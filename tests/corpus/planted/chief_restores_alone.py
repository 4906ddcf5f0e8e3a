"""Only the chief restores the weights. All workers then add the same updates to their own copy."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(np.zeros(3, np.float32), name="weights")

    def restore():
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 0:
            # FAULT: divergence: weights
            weights.assign(np.float32([0.5, -0.5, 1.0]))
        # REMEDY: weights.assign(np.float32([0.5, -0.5, 1.0]))

    def train(batch):
        context = tf.distribute.get_replica_context()
        error = weights.read_value() - batch[context.replica_id_in_sync_group]
        weights.assign_sub(np.float32(0.1) * context.all_reduce("MEAN", error))

    strategy.run(restore)
    for batch in np.random.default_rng(4).random((6, REPLICAS, 3), np.float32):
        strategy.run(train, args=(batch,))
