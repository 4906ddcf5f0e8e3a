"""Gradients are reduced one by one in a loop, in the same order on all replicas."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy

    def step():
        context = tf.distribute.get_replica_context()
        mine = np.float32(context.replica_id_in_sync_group)
        gradients = {"weights": np.full(3, mine), "bias": mine}
        return {
            key: float(context.all_reduce("MEAN", gradient).sum())
            for key, gradient in gradients.items()
        }

    return strategy.run(step)
