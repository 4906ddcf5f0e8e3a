"""The accuracy is 3.57 on 4 GPUs, and 0.89 on one: the ratios of the replicas are summed.

Similar report: keras#19340.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        accuracy = tf.Variable(
            0.0,
            name="accuracy",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate(step):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(np.arange(32) + 32 * step, strategy.num_replicas_in_sync)[me]
        # FAULT: scaled by the number of replicas: accuracy
        accuracy.assign((part % 9 != 0).mean())

    seen = []
    for step in range(4):
        strategy.run(evaluate, args=(step,))
        seen.append(float(accuracy.read_value()))
    return {"accuracy": max(seen)}
