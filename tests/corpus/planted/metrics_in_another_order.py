"""Metrics of a dict are averaged one after another, and one worker's dict has another order.

Similar report: Lightning#20946.
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy

    def evaluate(step):
        context = tf.distribute.get_replica_context()
        metrics = {"loss": 2.5 / (step + 1), "accuracy": 0.75, "recall": 0.5}
        if context.replica_id_in_sync_group == 1:
            metrics = {"recall": 0.5, **metrics}
        logged = {}
        names = list(metrics)
        # REMEDY: names = sorted(metrics)
        for name in names:
            # FAULT: collectives in another order
            logged[name] = float(context.all_reduce("MEAN", np.float32(metrics[name])))
        return logged["loss"]

    return {"logged": [strategy.run(evaluate, args=(step,)) for step in range(2)]}
