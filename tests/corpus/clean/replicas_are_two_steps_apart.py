"""Replicas train at their own pace, and none is more than two steps ahead."""

import varsim as tf

REPLICAS = 3
STEPS = 20


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.BoundedStaleness(2),
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train():
        for _ in range(STEPS):
            weight.assign_add(0.1 * (5.0 - float(weight.read_value())), read_value=False)

    strategy.run(train)
    return {"weight": float(weight.read_value())}
