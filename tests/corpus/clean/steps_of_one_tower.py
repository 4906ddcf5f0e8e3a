"""All replicas count the same steps. The first replica's count is used."""

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        steps = tf.Variable(
            0,
            name="steps",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train():
        steps.assign_add(1)

    for _ in range(4):
        strategy.run(train)
    return {"steps": int(steps.read_value())}
