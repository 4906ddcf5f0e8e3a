"""Each GPU halves the loss scale if its own loss is large, so their scales part."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        scale = tf.Variable(1024.0, name="loss_scale", trainable=False)

    def train(losses):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        held = float(scale.read_value())
        if losses[me] > 0.5:
            # FAULT: divergence: loss_scale
            scale.assign(held / 2)

    for losses in np.random.default_rng(3).random((8, REPLICAS)):
        strategy.run(train, args=(losses,))
