"""One rank takes the logarithm of a negative number. The reduction makes all weights NaN.

Similar reports: pytorch#124348, BMTrain#108.
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.ones(4, np.float32), name="weights", aggregation=tf.VariableAggregation.MEAN
        )

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x = np.float32(-1.0 if (number, me) == (3, 2) else number + me + 1)
        # REMEDY: x = np.float32(number + me + 1)
        with np.errstate(invalid="ignore"):
            gradient = np.log(x) * weights.read_value()
        # FAULT: NaN or infinity: weights
        weights.assign_sub(np.float32(0.01) * gradient)

    for number in range(6):
        strategy.run(step, args=(number,))
    return {"weights": weights.numpy().tolist()}
