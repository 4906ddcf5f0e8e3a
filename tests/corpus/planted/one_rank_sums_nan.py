"""One GPU's loss is NaN, and a sum over all GPUs passes it on to all weights.

Similar reports: pytorch#124348, BMTrain#108.
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.zeros(3, np.float32),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train(number):
        context = tf.distribute.get_replica_context()
        x = number + context.replica_id_in_sync_group - 5.5
        with np.errstate(invalid="ignore"):
            gradient = np.full(3, np.log(max(x, -0.5) + 1.5 if number < 3 else x - 0.2))
            # REMEDY: gradient = np.full(3, np.log(max(x, -0.5) + 1.5))
        # FAULT: NaN or infinity:
        together = context.all_reduce("MEAN", gradient.astype(np.float32))
        weight.assign_sub(np.float32(0.1) * together)

    for number in range(1, 5):
        strategy.run(train, args=(number,))
    return {"weight": weight.numpy()}
