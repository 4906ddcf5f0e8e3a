"""Only the program writes the variable, which is mirrored and has no aggregation."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        offset = tf.Variable(
            0.0,
            name="offset",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def use():
        return float(offset.read_value())

    for number in range(4):
        offset.assign(4.0 - number)
        strategy.run(use)
    return {"offset": float(offset.read_value())}
