"""One worker changes the threshold while the others use it: results depend on their speed."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        threshold = tf.Variable(
            0.5,
            name="threshold",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def decide(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 2:
            threshold.assign(0.5 + 0.1 * number)
            return False
        # REMEDY:
        # FAULT: read-write conflict: threshold
        # ALSO: stale read: threshold
        return bool(0.7 > threshold.read_value())

    for number in range(1, 7):
        strategy.run(decide, args=(number,))
        # REMEDY: threshold.assign(0.5 + 0.1 * number)
        # REMEDY: strategy.run(decide, args=(number,))
