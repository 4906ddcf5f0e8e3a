"""Class centres explode: each GPU reads all centres, moves those of its classes, and assigns all.

Similar report: tensorflow#30056.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
CLASSES = 6


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        centres = tf.Variable(
            np.full((CLASSES, 2), 0.5, np.float32),
            name="centres",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(5)

    def train(points):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        new = centres.read_value().copy()
        for row in range(me, CLASSES, 2):
            if row < 4:  # two classes have no example in this batch
                new[row] += np.float32(0.1) * (points[row] - new[row])
        # FAULT: scaled by the number of replicas: centres
        centres.assign(new)
        # REMEDY: centres.assign_add(new - centres.read_value())

    for _ in range(4):
        strategy.run(train, args=(rng.normal(size=(CLASSES, 2)).astype(np.float32),))
    return {"centres": centres.read_value()}
