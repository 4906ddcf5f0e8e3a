"""Worker 0 sets the clipping threshold for all workers. Why do the other workers never clip?"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        threshold = tf.Variable(
            1000.0,
            name="threshold",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        clipped = tf.Variable(
            0,
            name="clipped",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(norms):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 0:
            # FAULT: read-write conflict: threshold
            threshold.assign(float(np.median(norms)))
        # REMEDY:
        # ALSO: stale read: threshold
        limit = float(threshold.read_value())
        clipped.assign_add(int(np.sum(norms[me] > limit)))

    random = np.random.default_rng(2)
    for number in range(6):
        strategy.run(step, args=(random.gamma(2.0 + number, size=(4, 10)),))
        # REMEDY: norms = random.gamma(2.0 + number, size=(4, 10))
        # REMEDY: threshold.assign(float(np.median(norms)))
        # REMEDY: strategy.run(step, args=(norms,))
    return {"clipped": int(clipped.read_value())}
