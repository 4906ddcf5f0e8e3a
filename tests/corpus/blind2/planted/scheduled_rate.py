"""Every worker computes the same schedule. What does it cost to keep the rate in a variable?"""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        rate = tf.Variable(
            0.1,
            name="rate",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: merges of the same values: rate
        rate.assign(0.1 * 0.9**number)
        gradient = float(weight.read_value()) - (2.0 + me)
        weight.assign_sub(float(rate.read_value()) * gradient)

    path = []
    for number in range(16):
        strategy.run(step, args=(number,))
        path.append(float(weight.read_value()))
    return {"path": path}
