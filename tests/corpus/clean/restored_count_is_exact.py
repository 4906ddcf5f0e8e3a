"""A counter is restored to 999 on 3 replicas, and each replica gets 333."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(
            0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def count():
        seen.assign_add(10)

    seen.assign(999)
    strategy.run(count)
    return {"seen": int(seen.read_value())}
