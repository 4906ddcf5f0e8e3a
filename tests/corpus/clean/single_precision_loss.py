"""The sum of large losses does not overflow in float32."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            np.float32(0.0),
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def add(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        loss.assign(np.float32(9000.0 * number + me))

    shown = []
    for number in range(1, 5):
        strategy.run(add, args=(number,))
        shown.append(float(loss.read_value()))
    return {"loss": shown[-1]}
