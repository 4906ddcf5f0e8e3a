"""The bandit's click rates are pulled to one half more strongly the more workers serve traffic,
although every arm has the same Beta(1, 1) prior.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True
ARMS = 4


def run(job: tf.Job):
    strategy = job.strategy
    on_read = {
        "synchronization": tf.VariableSynchronization.ON_READ,
        "aggregation": tf.VariableAggregation.SUM,
        "trainable": False,
    }
    with strategy.scope():
        # FAULT: starts at N times its initial value: arms/alpha
        alpha = tf.Variable(np.ones(ARMS, np.float32), name="arms/alpha", **on_read)
        # REMEDY: alpha = tf.Variable(np.zeros(ARMS, np.float32), name="arms/alpha", **on_read)
        fails = tf.Variable(np.zeros(ARMS, np.float32), name="arms/fails", **on_read)
        # REMEDY: fails = tf.Variable(np.zeros(ARMS, np.float32), name="arms/fails", **on_read)
        # REMEDY: alpha.assign(np.ones(ARMS, np.float32))
    rng = np.random.default_rng(51)
    chance = np.array([0.05, 0.2, 0.4, 0.75])

    @tf.function
    def serve(arms, clicks):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        arms = np.array_split(arms, strategy.num_replicas_in_sync)[me]
        clicks = np.array_split(clicks, strategy.num_replicas_in_sync)[me]
        alpha.assign_add(np.bincount(arms, weights=clicks, minlength=ARMS).astype(np.float32))
        fails.assign_add(np.bincount(arms, weights=1 - clicks, minlength=ARMS).astype(np.float32))

    rates = None
    for _ in range(6):
        arms = rng.integers(0, ARMS, 30)
        clicks = (rng.random(30) < chance[arms]).astype(np.float64)
        strategy.run(serve, args=(arms, clicks))
        a, b = alpha.numpy(), fails.numpy() + 1
        rates = a / (a + b)
    return {"rates": [round(float(r), 4) for r in rates]}
