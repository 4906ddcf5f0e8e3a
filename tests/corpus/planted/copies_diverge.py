"""The program prints 4.0, but two of three replicas have other values.

The variable is mirrored and has no aggregation.
"""

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
        # REMEDY: offset = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="offset",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def set_own():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # ALSO: write-write conflict: offset
        offset.assign(4.0 - me)

    for _ in range(4):
        strategy.run(set_own)
    # FAULT: divergence: offset
    return {"offset": float(offset.read_value())}
