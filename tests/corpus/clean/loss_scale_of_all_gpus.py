"""All GPUs halve the loss scale if the loss of one of them is large. Each counts its own skips."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        scale = tf.Variable(1024.0, name="loss_scale", trainable=False)
        skips = tf.Variable(
            0, name="skips", synchronization=tf.VariableSynchronization.NONE, trainable=False
        )

    def train(losses):
        context = tf.distribute.get_replica_context()
        mine = losses[context.replica_id_in_sync_group]
        held = float(scale.read_value())
        largest = max(context.all_gather(np.float32([mine]), axis=0))
        if mine > 0.8:
            skips.assign_add(1)
        if largest > 0.8 and skips.read_value() < 9:
            scale.assign(held / 2)

    for losses in np.random.default_rng(3).random((8, REPLICAS)):
        strategy.run(train, args=(losses,))
