"""The gradient is reduced into a copy, and the original is applied. The copies part.

Similar report: Megatron-LM#5337.
"""

import numpy as np

import varsim as tf

REPLICAS = 2


def reduced(gradient):
    # FAULT: discarded result:
    tf.distribute.get_replica_context().all_reduce("MEAN", np.ascontiguousarray(gradient))
    # REMEDY: gradient = tf.distribute.get_replica_context().all_reduce("MEAN", gradient)
    return gradient


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.zeros((3, 2), np.float32),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradient = (np.arange(6, dtype=np.float32).reshape(2, 3) * (me + number)).T
        weight.assign_sub(np.float32(0.1) * reduced(gradient))

    for number in range(1, 5):
        strategy.run(train, args=(number,))
    return {"weight": weight.read_value()}
