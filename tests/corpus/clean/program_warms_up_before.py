"""The program sets the temperature, and then the workers read it."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        temperature = tf.Variable(
            1.0,
            name="temperature",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def train():
        return float(temperature.read_value())

    for number in range(1, 7):
        temperature.assign(1.0 / (number + 1))
        strategy.run(train)
