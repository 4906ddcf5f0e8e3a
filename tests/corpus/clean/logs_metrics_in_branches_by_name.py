"""The chief logs in another line than the other workers, but the collectives have the same name."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy

    def evaluate(step):
        context = tf.distribute.get_replica_context()
        loss = np.float32(2.0 / (step + 1))
        if context.replica_id_in_sync_group == 0:
            logged = context.all_reduce("MEAN", loss + np.float32(0.5), name="loss")
        else:
            logged = context.all_reduce("MEAN", loss, name="loss")
        return float(logged)

    return {"logged": [strategy.run(evaluate, args=(step,)) for step in range(2)]}
