"""All four workers update the bias by the mean of their values."""

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        bias = tf.Variable(
            0.0,
            name="bias",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        bias.assign(float(number * me))
        return float(bias.read_value())

    for number in range(1, 6):
        strategy.run(train, args=(number,))
