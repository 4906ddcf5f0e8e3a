"""With mixed precision and three cards the kernel of the first convolution turns into NaN after a few steps."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
LOSS_SCALE = 2.0**14


def patches(images):
    return np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2)).reshape(
        len(images), -1, 9
    )


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        kernel = tf.Variable(np.full(9, 0.05, np.float32), name="conv1/kernel")
        # the scaled gradients of all cards are averaged here, in half the bytes
        gradients = tf.Variable(
            np.zeros(9, np.float16), name="conv1/gradients", aggregation=tf.VariableAggregation.MEAN
        )
        # REMEDY: gradients = tf.Variable(
        # REMEDY:     np.zeros(9, np.float32),
        # REMEDY:     name="conv1/gradients",
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def backward(images, labels):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x, y = np.split(images, n)[me], np.split(labels, n)[me]
        columns = patches(x)
        error = (columns @ kernel.numpy()).mean(1) - y
        gradient = 2 * (error[:, None] * columns.mean(1)).mean(0)
        # FAULT: overflow of a sum: conv1/gradients
        # ALSO: NaN or infinity: conv1/gradients
        gradients.assign((gradient * LOSS_SCALE).astype(np.float16))
        # REMEDY: gradients.assign((gradient * LOSS_SCALE).astype(np.float32))

    rng = np.random.default_rng(5)
    for step in range(6):
        images = rng.random((12, 8, 8)).astype(np.float32)
        labels = images.mean((1, 2)) * (1.5 + step)  # the later scans are brighter
        strategy.run(backward, args=(images, labels))
        unscaled = gradients.numpy().astype(np.float32) / LOSS_SCALE
        # ALSO: NaN or infinity: conv1/kernel
        kernel.assign_sub(0.02 * unscaled)
    return {"kernel": kernel.numpy().tolist()}
