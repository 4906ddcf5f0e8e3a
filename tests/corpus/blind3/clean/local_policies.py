"""Local SGD of a policy: each worker improves its own copy for four rollouts, then the copies
are averaged.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
EVERY = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        theta = tf.Variable(
            np.zeros(5, np.float32),
            name="policy/local",
            synchronization=tf.VariableSynchronization.NONE,
        )
    truth = np.linspace(-1, 1, 5).astype(np.float32)

    def rollouts(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rng = np.random.default_rng([number, me])
        for _ in range(EVERY):
            x = rng.normal(size=(16, 5)).astype(np.float32)
            error = x @ (truth - theta.read_value())
            theta.assign_add(np.float32(0.1) * x.T @ error / np.float32(16))

    away = []
    for number in range(6):
        strategy.run(rollouts, args=(number,))
        theta.sync(tf.distribute.ReduceOp.MEAN)
        away.append(
            float(np.abs(strategy.experimental_local_results(theta)[0].numpy() - truth).max())
        )
    assert away[-1] < 0.2 < away[0]
    return {"away": [round(a, 4) for a in away]}
