"""The program reads the number of examples, and sets the learning rate for the next step."""

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(
            0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        rate = tf.Variable(
            1.0,
            name="rate",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train():
        weight.assign_add(rate.read_value())
        seen.assign_add(16)
        return float(weight.read_value())

    for _ in range(6):
        strategy.run(train)
        rate.assign(1.0 / (1.0 + float(seen.read_value())))
    return {"seen": int(seen.read_value())}
