"""The learning rate falls with the number of examples, but four times too slowly on 4 GPUs."""

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
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train():
        # FAULT: stale read: seen
        rate = 1.0 / (1.0 + float(seen.read_value()))
        weight.assign_add(rate)
        seen.assign_add(16)
        return float(weight.read_value())

    for _ in range(6):
        strategy.run(train)
    return {"seen": int(seen.read_value())}
