"""PPO works on one GPU; on five, the policy's parameters are nan as soon as some environments
have ended early.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True
ENVS = 10


class Maps:
    """Rollouts of eight steps; on easy maps an episode has ended before the rollout begins."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def rollout(self, update):
        features = self.rng.normal(size=(ENVS, 8, 3)).astype(np.float32)
        advantages = self.rng.normal(0.0, 1.0, (ENVS, 8)).astype(np.float32)
        alive = np.ones((ENVS, 8), np.float32)
        if update >= 2:
            alive[4:6] = 0.0
        return features, advantages, alive


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        theta = tf.Variable(
            np.zeros(3, np.float32),
            name="policy/theta",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def improve(features, advantages, alive):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        mine = slice(me * ENVS // n, (me + 1) * ENVS // n)
        weighted = features[mine] * (advantages[mine] * alive[mine])[..., None]
        with np.errstate(invalid="ignore", divide="ignore"):
            gradient = weighted.sum(axis=(0, 1)) / alive[mine].sum()
            # REMEDY: gradient = weighted.sum(axis=(0, 1)) / max(1, alive[mine].sum())
        # FAULT: NaN or infinity
        gradient = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradient)
        # ALSO: merges that are never read: policy/theta
        theta.assign_add(np.float32(0.05) * gradient)

    maps = Maps(5)
    for update in range(6):
        strategy.run(improve, args=maps.rollout(update))
    return {"theta": theta.numpy().tolist()}
