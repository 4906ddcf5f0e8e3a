"""The saved model is worse than the training showed: only replica 0's weights are saved.

The weights are local.

Similar report: tensorflow#41980 (replicas' statistics differ by orders of magnitude).
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            0.0,
            name="weights",
            synchronization=tf.VariableSynchronization.NONE,
        )
    data = np.linspace(-1.0, 2.0, 30)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(data, strategy.num_replicas_in_sync)[me]
        # ALSO: write-write conflict: weights
        weights.assign_sub(0.1 * (weights.read_value() - part[number]))

    for number in range(5):
        strategy.run(train, args=(number,))
    copies = strategy.experimental_local_results(weights)
    # REMEDY: weights.sync("MEAN")
    # REMEDY: copies = strategy.experimental_local_results(weights)
    # FAULT: divergence: weights
    return {"weights": float(copies[0].numpy())}
