"""A minimum starts as infinity, and padding is NaN. Both values are intended."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        best = tf.Variable(
            np.float32(np.inf),
            name="best",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        table = tf.Variable(
            np.float32([0.0, 0.0, np.nan]), name="table", aggregation=tf.VariableAggregation.MEAN
        )

    def step(number):
        loss = np.float32(10.0 / number)
        best.assign(np.minimum(best.read_value(), loss))
        table.assign(table.read_value() + loss)

    shown = []
    for number in range(1, 4):
        strategy.run(step, args=(number,))
        shown.append(float(best.read_value()))
        best.assign(np.float32(np.inf))
        shown.append(table.numpy().tolist())
    return {"best": shown}
