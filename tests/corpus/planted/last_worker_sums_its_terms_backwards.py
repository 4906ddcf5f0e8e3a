"""The terms of a loss are summed by one helper, and the last worker lists its terms backwards."""

import numpy as np

import varsim as tf

REPLICAS = 4
TERMS = {"fit": 1.25, "smooth": 0.5, "sparse": 0.125}


def run(job: tf.Job):
    strategy = job.strategy

    def summed(term):
        # FAULT: collectives in another order
        return tf.distribute.get_replica_context().all_reduce("SUM", np.float32(term))

    def step(number):
        context = tf.distribute.get_replica_context()
        terms = {name: value / (1 + number) for name, value in TERMS.items()}
        names = list(terms)
        if context.replica_id_in_sync_group == 3:
            names.reverse()
            # REMEDY: names.sort(key=list(terms).index)
        sums = {name: float(summed(terms[name])) for name in names}
        return sums["fit"] + 0.1 * sums["smooth"]

    return {"loss": [strategy.run(step, args=(number,)) for number in range(3)]}
