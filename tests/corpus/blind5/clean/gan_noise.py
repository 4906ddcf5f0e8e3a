"""A one-dimensional GAN: shared weights, while noise and momentum belong to each replica."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        gen = tf.Variable(
            np.array([1.0, 0.0]),
            name="generator",
            dtype=tf.float64,
            aggregation=tf.VariableAggregation.MEAN,
        )
        disc = tf.Variable(
            np.array([0.2, 0.0]),
            name="discriminator",
            dtype=tf.float64,
            aggregation=tf.VariableAggregation.MEAN,
        )
        velocity = tf.Variable(
            np.zeros(2),
            name="generator/velocity",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.NONE,
        )
        spread = tf.Variable(
            1.0,
            name="moving_spread",
            dtype=tf.float64,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def train(step, real):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        real = np.array_split(real, n)[me]
        noise = np.random.default_rng((me, step)).standard_normal(len(real))
        (a, b), (scale, shift) = disc.numpy(), gen.numpy()
        fake = scale * noise + shift
        on_real, on_fake = sigmoid(a * real + b), sigmoid(a * fake + b)
        disc.assign_add(
            0.1
            * np.array(
                [
                    ((1 - on_real) * real - on_fake * fake).mean() - 0.2 * a,
                    (1 - on_real - on_fake).mean() - 0.2 * b,
                ]
            )
        )
        push = (1 - on_fake) * a
        velocity.assign(0.5 * velocity.numpy() + np.array([(push * noise).mean(), push.mean()]))
        gen.assign_add(0.1 * velocity.numpy())  # the mean of the replicas' steps
        spread.assign(0.9 * spread.numpy() + 0.1 * fake.std())

    rng = np.random.default_rng(66)
    for step in range(80):
        strategy.run(train, args=(step, rng.normal(2.0, 0.7, 40)))
    shift = float(gen.numpy()[1])
    return {"shift": shift, "spread": float(spread.numpy()), "close": abs(shift - 2.0) < 0.5}
