"""Each worker takes every N-th batch, so a single device takes N times as many steps."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(0, name="seen", aggregation=tf.VariableAggregation.SUM)
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
    n = strategy.num_replicas_in_sync
    batches = np.random.default_rng(4).random((12, 5)).astype(np.float32)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = batches[number * n + me]
        weight.assign_sub(0.1 * (weight.read_value() - batch).mean())
        seen.assign_add(len(batch))

    for number in range(len(batches) // n):
        strategy.run(train, args=(number,))
        seen.read_value()
    return {"seen": int(seen.read_value())}
