"""Each worker prints the number of samples so far, but the number is only a quarter of the total.

A worker reads its own part of the sum.

Similar report: seed_rl#21 ("what does ON_READ mean here?").
"""

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        samples = tf.Variable(
            0,
            name="samples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train():
        samples.assign_add(8)

    def log():
        # FAULT: stale read: samples
        return int(samples.read_value())

    for _ in range(5):
        strategy.run(train)
        strategy.run(log)
    return {"samples": int(samples.read_value())}
