"""With five workers the confidence interval of the option prices is as wide as with one fifth of
the paths.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True
PATHS = 1000
STRIKES = np.array([90.0, 95.0, 100.0, 105.0, 110.0])


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        price = tf.Variable(
            np.zeros(5),
            name="price",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
    estimates = []

    def simulate(batch):
        rng = np.random.default_rng(1000 + batch)
        # REMEDY: me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # REMEDY: rng = np.random.default_rng([1000 + batch, me])
        z = rng.standard_normal(PATHS // strategy.num_replicas_in_sync)
        terminal = 100.0 * np.exp(-0.5 * 0.2**2 + 0.2 * z)
        payoff = np.maximum(terminal[:, None] - STRIKES, 0.0)
        # FAULT: same data on all replicas: price
        price.assign(payoff.mean(axis=0))

    for batch in range(12):
        strategy.run(simulate, args=(batch,))
        estimates.append(price.numpy())
    found = np.array(estimates)
    return {
        "price": found.mean(0),
        "half_width": 1.96 * found.std(0) / np.sqrt(len(estimates)),
    }
