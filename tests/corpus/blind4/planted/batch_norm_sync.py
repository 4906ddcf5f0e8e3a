"""The batch normalisation costs two exchanges per layer and step, more than the gradients; the values are right."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class BatchNorm:
    def __init__(self, channels, name):
        self.moving_mean = tf.Variable(
            np.zeros(channels, np.float32),
            name=f"{name}/moving_mean",
            trainable=False,
            synchronization=tf.VariableSynchronization.NONE,
        )
        # REMEDY: self.moving_mean = tf.Variable(
        # REMEDY:     np.zeros(channels, np.float32),
        # REMEDY:     name=f"{name}/moving_mean",
        # REMEDY:     trainable=False,
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def train(self, x):
        mean = x.mean((0, 1, 2))
        self.moving_mean.assign((0.9 * self.moving_mean.numpy() + 0.1 * mean).astype(np.float32))
        # FAULT: manual synchronisation after every write: bn/moving_mean
        self.moving_mean.sync("MEAN")
        # REMEDY:
        return x - mean


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        layer = BatchNorm(4, "bn")
        gamma = tf.Variable(
            np.ones(4, np.float32), name="gamma", aggregation=tf.VariableAggregation.MEAN
        )
    rng = np.random.default_rng(3)

    def forward(images):
        context = tf.distribute.get_replica_context()
        mine = np.split(images, strategy.num_replicas_in_sync)[context.replica_id_in_sync_group]
        activations = layer.train(mine) * gamma.numpy()
        gamma.assign_sub(
            (0.05 * activations.mean((0, 1)).mean(0) + 0.01 * mine.mean((0, 1, 2))).astype(
                np.float32
            )
        )

    for step in range(9):
        images = rng.normal(1 + step, 1, (6, 5, 5, 4)).astype(np.float32)
        strategy.run(forward, args=(images,))
    return {"mean": layer.moving_mean.values[0].numpy().tolist(), "gamma": gamma.numpy().tolist()}
