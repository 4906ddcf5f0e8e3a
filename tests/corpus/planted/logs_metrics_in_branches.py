"""The chief logs its accuracy, the other workers log their loss. All get the mean of these numbers.

Similar report: Lightning#20946.
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy

    def evaluate(step):
        context = tf.distribute.get_replica_context()
        loss, accuracy = np.float32(2.0 / (step + 1)), np.float32(0.5)
        if context.replica_id_in_sync_group == 0:
            # FAULT: collectives of different lines
            logged = context.all_reduce("MEAN", accuracy)
        else:
            logged = context.all_reduce("MEAN", loss)
        # REMEDY: logged = context.all_reduce("MEAN", loss)
        # REMEDY: context.all_reduce("MEAN", accuracy)
        return float(logged)

    return {"logged": [strategy.run(evaluate, args=(step,)) for step in range(2)]}
