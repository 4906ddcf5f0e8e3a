"""A counter makes training slow: it is merged at every step, and read once at the end.

Similar report: tensorflow#35144.
"""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        examples = tf.Variable(
            0.0,
            name="examples",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train():
        # FAULT: merges that are never read: examples
        examples.assign_add(32.0)

    for _ in range(12):
        strategy.run(train)
    return {"examples": float(examples.read_value())}
