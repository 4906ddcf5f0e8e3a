"""Every card augments its own images by its own random stream; the number of images is exact, the loss differs a little."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class RandomBrightness:
    """One stream for each replica and step, so that a restart draws the same augmentation."""

    def __init__(self, seed, spread):
        self.seed, self.spread = seed, spread

    def __call__(self, images, step):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rng = np.random.default_rng([self.seed, me, step])
        return images * rng.normal(1.0, self.spread, (len(images), 1)).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    augment = RandomBrightness(13, 0.1)
    with strategy.scope():
        template = tf.Variable(
            np.zeros(16, np.float32), name="template", aggregation=tf.VariableAggregation.MEAN
        )
        seen = tf.Variable(
            0,
            name="images",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(71)
    mean_image = rng.random(16).astype(np.float32)

    def train(images, step):
        augmented = augment(images, step)
        gradient = template.numpy() - augmented.mean(0)
        template.assign_sub(np.float32(0.3) * gradient)
        seen.assign_add(len(images))

    for step in range(20):
        images = mean_image + rng.normal(0, 0.02, (24, 16)).astype(np.float32)
        (batch,) = strategy.experimental_distribute_dataset([images])
        strategy.run(train, args=(batch, step))
    return {
        "images": int(seen.numpy()),
        "distance below 0.1": bool(np.abs(template.numpy() - mean_image).max() < 0.1),
    }
