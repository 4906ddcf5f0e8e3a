"""After each step the program collects every copy, and assigns the mean to all copies."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        spread = tf.Variable(
            0.0,
            name="spread",
            synchronization=tf.VariableSynchronization.NONE,
        )
        # REMEDY: spread = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="spread",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def measure(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        spread.assign(float(number * me))

    for number in range(1, 9):
        strategy.run(measure, args=(number,))
        copies = strategy.experimental_local_results(spread)
        mean = float(np.mean([copy.numpy() for copy in copies]))
        # FAULT: manual synchronisation after every write: spread
        spread.assign(mean)
        # REMEDY:
