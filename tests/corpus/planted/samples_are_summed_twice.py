"""Each replica adds the global count of the samples, and the metric sums it over the replicas."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(
            0.0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def count(number):
        context = tf.distribute.get_replica_context()
        mine = np.float32(3 + number + context.replica_id_in_sync_group)
        everybody = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
        # REMEDY:
        # FAULT: scaled by the number of replicas: seen
        seen.assign_add(everybody)
        # REMEDY: seen.assign_add(mine)

    for number in range(4):
        strategy.run(count, args=(number,))
    return {"seen": seen.numpy()}
