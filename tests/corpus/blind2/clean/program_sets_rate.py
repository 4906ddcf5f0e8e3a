"""The program lowers the rate between steps, and the workers read it. Do they see the new rate?"""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        rate = tf.Variable(
            0.5,
            name="rate",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        gradient = float(weight.read_value()) - (2.0 + me)
        weight.assign_sub(float(rate.read_value()) * gradient)

    path = []
    for number in range(15):
        rate.assign(0.5 / (1.0 + number))
        strategy.run(step)
        path.append(float(weight.read_value()))
    return {"path": path}
