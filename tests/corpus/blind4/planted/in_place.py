"""After porting from torch the two cards report different losses for the same test image, and both train slowly."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def average_gradients(gradients):
    context = tf.distribute.get_replica_context()
    for name in sorted(gradients):
        # FAULT: discarded result
        context.all_reduce("MEAN", gradients[name])
        # REMEDY: gradients[name] = context.all_reduce("MEAN", gradients[name])
    return gradients


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(33)
    start = rng.normal(0, 0.1, (256, 100)).astype(np.float32)
    with strategy.scope():
        # ALSO: divergence: net/weights
        weights = tf.Variable(
            start, name="net/weights", synchronization=tf.VariableSynchronization.NONE
        )
    teacher = rng.normal(0, 1, (256, 100)).astype(np.float32)

    def train(images):
        n = strategy.num_replicas_in_sync
        mine = np.split(images, n)[tf.distribute.get_replica_context().replica_id_in_sync_group]
        flat = mine.reshape(len(mine), -1)
        error = flat @ weights.numpy() - flat @ teacher
        gradients = average_gradients({"weights": flat.T @ error / len(flat)})
        weights.assign_sub(np.float32(0.01) * gradients["weights"])

    probe = rng.normal(0, 1, 256).astype(np.float32)
    for _ in range(8):
        strategy.run(train, args=(rng.normal(0, 1, (16, 16, 16)).astype(np.float32),))
    losses = [float(np.sum((probe @ (copy.numpy() - teacher)) ** 2)) for copy in weights.values]
    return {"first": losses[0], "last": losses[-1]}
