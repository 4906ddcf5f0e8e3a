"""The rewards of some actors are scaled differently from those of others, and the checkpoint has
only one of the scales.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        scale = tf.Variable(1.0, name="reward_norm/scale", trainable=False)
        baseline = tf.Variable(
            0.0,
            name="reward_norm/baseline",
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def collect(rewards):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.split(rewards, strategy.num_replicas_in_sync)[me]
        # FAULT: write-write conflict: reward_norm/scale
        # ALSO: divergence: reward_norm/scale
        scale.assign(0.7 * scale.read_value() + np.float32(0.3) * np.float32(np.abs(mine).mean()))
        normed = mine / scale.read_value()
        # ALSO: unexplained difference: reward_norm/baseline
        baseline.assign(0.5 * baseline.read_value() + np.float32(0.5 * normed.mean()))

    rng = np.random.default_rng(33)
    for episode in range(8):
        rewards = rng.normal(2.0, 1.0 + episode / 4, 18).astype(np.float32)
        strategy.run(collect, args=(rewards,))
    return {"scale": float(scale.numpy()), "baseline": float(baseline.numpy())}
