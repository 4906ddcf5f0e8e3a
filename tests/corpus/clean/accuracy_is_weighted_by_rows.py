"""The shards have 5, 5 and 2 examples. The mean of the replicas' means has weights.

This is the program `planted/last_batch_is_smaller` with the remedy of its finding.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        accuracy = tf.Variable(
            0.0,
            name="accuracy",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
    right = (np.arange(72) % 7 < 4) | (np.arange(72) % 12 > 9)

    def evaluate(number):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        batch = right[12 * number : 12 * number + 12]
        bounds = [0, 5, 10, 12] if strategy.num_replicas_in_sync > 1 else [0, 12]
        shard = batch[bounds[me] : bounds[me + 1]]
        accuracy.assign(context.all_reduce("MEAN", np.float32(shard.mean()), weight=len(shard)))
        return float(accuracy.read_value())

    for number in range(6):
        strategy.run(evaluate, args=(number,))
