"""A counter is restored to 1000 on 3 replicas, and shows 999.

Each replica gets a third, rounded down.

Similar report: keras#21054 (a count that is divided when it is restored).
"""

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        seen = tf.Variable(
            0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: seen = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="seen",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def count():
        seen.assign_add(10)

    # FAULT: integer truncation: seen
    seen.assign(1000)
    strategy.run(count)
    return {"seen": int(seen.read_value())}
