"""The chief computes the rate for all workers, and takes the logarithm of 0 in step 3."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        bias = tf.Variable(np.float32(0), name="bias", aggregation=tf.VariableAggregation.MEAN)

    def step(number, rows):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        with np.errstate(all="ignore"):
            own = np.log(np.float32(3 - number)) if me == 0 else np.float32(0)
        # REMEDY: own = np.log(np.float32(1 + number)) if me == 0 else np.float32(0)
        # FAULT: NaN or infinity: bias
        rate = context.broadcast(own)
        bias.assign(bias.read_value() - np.float32(0.1) * rate * rows[me::3].mean())

    rng = np.random.default_rng(3)
    for number in range(5):
        strategy.run(step, args=(number, rng.random(12).astype(np.float32)))
    return {"bias": float(bias.read_value())}
