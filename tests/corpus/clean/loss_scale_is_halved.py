"""Dynamic loss scaling: if the sum of the gradients is infinite, the step is skipped.

The smallest loss so far starts as infinity.
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.zeros(2, np.float32), name="weight", aggregation=tf.VariableAggregation.MEAN
        )

    def train(number, scale, best):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        loss = np.array([0.5 * number, 1.0 + me]) - weight.numpy().mean()
        best = float(np.abs(loss).max()) if number > 1 else best
        best = float(context.all_reduce("MIN", np.float32(best)))
        with np.errstate(over="ignore"):
            together = context.all_reduce("SUM", (loss * scale).astype(np.float16))
        if not np.isfinite(together).all():
            return scale / 2, best
        step = together.astype(np.float32) / scale / context.num_replicas_in_sync
        weight.assign_sub(0.1 * step + 0.01 * me)
        return scale, best

    scale, best = 2.0**13, np.inf
    for number in range(1, 3):
        results = strategy.run(train, args=(number, scale, best))
        scale, best = strategy.experimental_local_results(results)[0]
    return {"weight": weight.numpy(), "best": best}
