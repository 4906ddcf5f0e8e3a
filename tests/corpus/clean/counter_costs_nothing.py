"""A counter of examples with ON_READ: nothing is sent before the counter is read."""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        examples = tf.Variable(
            0.0,
            name="examples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train():
        examples.assign_add(32.0)

    for _ in range(12):
        strategy.run(train)
    return {"examples": float(examples.read_value())}
