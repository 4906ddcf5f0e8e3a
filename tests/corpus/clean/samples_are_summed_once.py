"""The sum of an all_reduce is the value of a mean. A total and its count are both summed again."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    on_read, sums = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.SUM
    with strategy.scope():
        squares, rows = (
            tf.Variable(0.0, name=name, synchronization=on_read, aggregation=sums)
            for name in ("squares", "rows")
        )
        last = tf.Variable(
            0.0,
            name="last",
            synchronization=on_read,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def count(number):
        context = tf.distribute.get_replica_context()
        mine = np.float32(3 + number + context.replica_id_in_sync_group)
        everybody = context.all_reduce(tf.distribute.ReduceOp.SUM, mine)
        last.assign(everybody)
        rows.assign_add(everybody)
        squares.assign_add(context.all_reduce(tf.distribute.ReduceOp.SUM, mine * mine))

    for number in range(2):
        strategy.run(count, args=(number,))
    return {"last": last.numpy(), "square": squares.numpy() / rows.numpy()}
