"""All workers write the threshold; the first worker's value is used. Then all workers read it."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        threshold = tf.Variable(
            0.5,
            name="threshold",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def decide(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        threshold.assign(0.5 + 0.1 * number + me)
        return bool(0.7 > threshold.read_value())

    for number in range(1, 7):
        strategy.run(decide, args=(number,))
