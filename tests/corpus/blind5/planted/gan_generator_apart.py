"""The samples of the saved generator look worse than those in the training log, and every worker's
samples look different.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SETTINGS = {
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
    "trainable": True,
}


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        disc = tf.Variable(np.array([0.1, 0.0], np.float32), name="disc", **SETTINGS)
        gen = tf.Variable(np.array([1.0, 0.0], np.float32), name="gen", **SETTINGS)

    def gradients(real, noise):
        a, b = disc.numpy()
        scale, shift = gen.numpy()
        fake = scale * noise + shift
        on_real, on_fake = 1 / (1 + np.exp(-(a * real + b))), 1 / (1 + np.exp(-(a * fake + b)))
        d = np.array(
            [(-(1 - on_real) * real + on_fake * fake).mean(), (-(1 - on_real) + on_fake).mean()]
        )
        g = np.array([(-(1 - on_fake) * a * noise).mean(), (-(1 - on_fake) * a).mean()])
        return d.astype(np.float32), g.astype(np.float32)

    def train(real, noise):
        ctx = tf.distribute.get_replica_context()
        me = ctx.replica_id_in_sync_group
        d, g = gradients(np.array_split(real, n)[me], np.array_split(noise, n)[me])
        d = ctx.all_reduce("MEAN", d)
        # REMEDY: d, g = ctx.all_reduce("MEAN", (d, g))
        for weights, change in ((disc, d), (gen, g)):
            # FAULT: divergence: gen
            weights.assign_sub(0.2 * change)

    rng = np.random.default_rng(2)
    for _ in range(20):
        real = rng.normal(3.0, 0.5, 48).astype(np.float32)
        strategy.run(train, args=(real, rng.standard_normal(48).astype(np.float32)))
    scale, shift = gen.numpy()
    return {"scale": float(scale), "shift": float(shift), "disc": disc.numpy()}
