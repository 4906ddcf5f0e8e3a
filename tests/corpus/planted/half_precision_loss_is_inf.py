"""The loss is inf on 4 GPUs with float16, although it is at most 36,003 on each of them.

Similar report: keras#21467 (a total overflows, and later becomes NaN).
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            np.float16(0.0),
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: loss = tf.Variable(
        # REMEDY:     np.float32(0.0),
        # REMEDY:     name="loss",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def add(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: overflow of a sum: loss
        loss.assign(np.float16(9000.0 * number + me))
        # REMEDY: loss.assign(np.float32(9000.0 * number + me))

    shown = []
    for number in range(1, 5):
        strategy.run(add, args=(number,))
        shown.append(float(loss.read_value()))
    return {"loss": shown[-1]}
