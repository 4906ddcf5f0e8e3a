"""The parts of each worker are gathered by sums, and folds are evaluated in turn: orders differ.

All all_reduces of a line have no name, and the workers give the same values in other orders.
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    scores = np.array([0.7, 0.8, 0.55], np.float32)

    def gather():
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        mine = np.float32(0.5)
        return [float(context.all_reduce("SUM", mine * (i == me))) for i in range(n)]

    def validate():
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        means = [context.all_reduce("MEAN", scores[(fold + me) % n]) for fold in range(n)]
        return float(np.mean(means))

    return {"parts": strategy.run(gather), "score": [strategy.run(validate) for _ in range(2)]}
