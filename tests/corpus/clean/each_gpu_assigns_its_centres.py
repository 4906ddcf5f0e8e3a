"""Each GPU assigns its own rows, with 0 at the others'; rows without an example stay."""

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
        seen = tf.Variable(
            np.ones(CLASSES, np.int32),
            name="seen",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(5)

    def train(points):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        old, new = centres.read_value(), np.zeros((CLASSES, 2), np.float32)
        counts = np.zeros(CLASSES, np.int32)
        for row in range(me, CLASSES, 2):
            new[row] = old[row]
            if row < 4:
                new[row] += np.float32(0.1) * (points[row] - old[row])
            counts[row] = seen.read_value()[row] + (row < 4)
        centres.assign(new)
        seen.assign(counts)

    for _ in range(4):
        strategy.run(train, args=(rng.normal(size=(CLASSES, 2)).astype(np.float32),))
    return {"centres": centres.read_value(), "seen": seen.read_value()}
