"""Training goes well, but my evaluation with the moving mean has large errors.

Which mean does the evaluation use?
"""

import numpy as np

import varsim as tf

REPLICAS = 2
MIDDLE = 2.0


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        moving_mean = tf.Variable(
            np.zeros(4, np.float32),
            name="moving_mean",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        # REMEDY: moving_mean = tf.Variable(
        # REMEDY:     np.zeros(4, np.float32),
        # REMEDY:     name="moving_mean",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def step(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = batch[me * 8 : (me + 1) * 8]
        # ALSO: write-write conflict: moving_mean
        moving_mean.assign_add((0.1 * (mine.mean(axis=0) - MIDDLE)).astype(np.float32))

    random = np.random.default_rng(5)
    errors = []
    for number in range(10):
        batch = random.normal(size=(16, 4)) + np.arange(16)[:, None] / 4
        strategy.run(step, args=(batch,))
        if number % 5 == 4:
            held_out = random.normal(size=(6, 4))
            # FAULT: divergence: moving_mean
            centre = np.asarray(moving_mean.read_value())
            errors.append(float(np.abs(held_out - centre).mean()))
    return {"errors": errors}
