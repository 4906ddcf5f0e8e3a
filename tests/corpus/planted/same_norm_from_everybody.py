"""Each step sends the spectral norm, although it is equal on all GPUs, like the weights.

Similar report: tensorflow#35347 (the vector u of spectral normalisation).
"""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        norm = tf.Variable(
            np.zeros(2, np.float32),
            name="norm",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def normalise(number):
        estimate = np.array([number, 0.5], np.float32)
        # FAULT: merges of the same values: norm
        norm.assign(estimate / np.linalg.norm(estimate))
        return norm.read_value()

    for number in range(1, 9):
        strategy.run(normalise, args=(number,))
