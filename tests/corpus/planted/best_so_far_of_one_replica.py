"""Early stopping never happens: only the replica that found the best loss stores this loss.

Similar report: tensorflow#60128 (an assign is not seen by the other worker).
"""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        best = tf.Variable(
            10.0,
            name="best",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def find_best(loss):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 0:
            # ALSO: divergence: best
            best.assign(loss)

    def stop(loss):
        # FAULT: stale read: best
        return bool(loss > best.read_value())

    for number in range(6):
        strategy.run(find_best, args=(5.0 - number,))
        # REMEDY: best.assign(5.0 - number)
        strategy.run(stop, args=(6.0 - number,))
