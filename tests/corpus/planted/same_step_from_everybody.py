"""The step counter is broadcast in each step, although all workers have the same count.

Similar report: tensorflow#34203.
"""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        step = tf.Variable(
            0,
            name="step",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train():
        # FAULT: merges of the same values: step
        step.assign_add(1)
        return int(step.read_value())

    for _ in range(8):
        strategy.run(train)
