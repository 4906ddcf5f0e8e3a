"""An evolution strategy with three workers searches no better than one: all try the same steps."""

import numpy as np

import varsim as tf

REPLICAS = 3
SEED = 7
GOAL = np.array([1.5, -0.5, 2.25])


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        policy = tf.Variable(
            np.zeros(3),
            name="policy",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def search(generation):
        rng = np.random.default_rng([SEED, generation])
        # REMEDY: me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # REMEDY: rng = np.random.default_rng([SEED, generation, me])
        steps = rng.normal(size=(8, 3))
        before = policy.read_value()
        gains = -np.square(before + steps - GOAL).sum(axis=1)
        weights = (gains - gains.mean()) / gains.std()
        # FAULT: same data on all replicas: policy
        policy.assign_add(0.1 * weights @ steps)

    for generation in range(6):
        strategy.run(search, args=(generation,))
    return {"policy": policy.numpy()}
