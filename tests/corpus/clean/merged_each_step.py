"""The variable's aggregation computes the mean of the assigned values."""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        spread = tf.Variable(
            0.0,
            name="spread",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def measure(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        spread.assign(float(number * me))
        return float(spread.read_value())

    for number in range(1, 9):
        strategy.run(measure, args=(number,))
