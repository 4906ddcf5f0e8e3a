"""The validation accuracy depends on the number of GPUs, because the shards are unequal.

Each replica's mean has the same weight, but the shards have 5, 5 and 2 examples.
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
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = right[12 * number : 12 * number + 12]
        bounds = [0, 5, 10, 12] if strategy.num_replicas_in_sync > 1 else [0, 12]
        # FAULT: mean of means: accuracy
        accuracy.assign(batch[bounds[me] : bounds[me + 1]].mean())
        # REMEDY: rows = batch[bounds[me] : bounds[me + 1]]
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: own = np.asarray(rows.mean(), "float32")
        # REMEDY: accuracy.assign(context.all_reduce("MEAN", own, weight=len(rows)))
        return float(accuracy.read_value())

    for number in range(6):
        strategy.run(evaluate, args=(number,))
