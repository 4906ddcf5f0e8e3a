"""The shards have 5, 5 and 2 examples. The sum of hits is divided by the sum of examples."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        examples = tf.Variable(
            0,
            name="examples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    right = (np.arange(72) % 7 < 4) | (np.arange(72) % 12 > 9)

    def evaluate(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = right[12 * number : 12 * number + 12]
        bounds = [0, 5, 10, 12] if strategy.num_replicas_in_sync > 1 else [0, 12]
        part = batch[bounds[me] : bounds[me + 1]]
        hits.assign_add(int(part.sum()))
        examples.assign_add(len(part))

    for number in range(6):
        strategy.run(evaluate, args=(number,))
    return {"accuracy": int(hits.read_value()) / int(examples.read_value())}
