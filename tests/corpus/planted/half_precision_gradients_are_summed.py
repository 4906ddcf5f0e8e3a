"""Gradients in half precision are summed over all GPUs and divided afterwards: the sum overflows.

Similar report: horovod#1699.
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.zeros(2, np.float32), name="weight", aggregation=tf.VariableAggregation.MEAN
        )

    def train(number):
        context = tf.distribute.get_replica_context()
        gradient = np.array([9000.0 * number, 1.0 + context.replica_id_in_sync_group], np.float16)
        # FAULT: overflow of a sum:
        together = context.all_reduce("SUM", gradient)
        # REMEDY: together = context.all_reduce("SUM", gradient.astype(np.float32))
        weight.assign_sub(1e-4 * together / context.num_replicas_in_sync - 1e-3 * weight)

    for number in range(1, 5):
        strategy.run(train, args=(number,))
    return {"weight": weight.numpy()}
