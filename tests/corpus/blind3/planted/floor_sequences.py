"""After an epoch over 410 sequences, the progress bar of the language model stands at 384 when
the loader is exhausted.
"""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    world = strategy.num_replicas_in_sync
    with strategy.scope():
        done = tf.Variable(
            0,
            name="progress/sequences",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        bias = tf.Variable(
            np.zeros(5, np.float32), name="lm/bias", aggregation=tf.VariableAggregation.MEAN
        )

    def step(batch):
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        # the loader's batches are as long as the length bucket allows
        local = len(batch) // world
        mine = batch[rank * local : (rank + 1) * local]
        # REMEDY: mine = np.array_split(batch, world)[rank]
        # FAULT: integer truncation: progress/sequences
        done.assign_add(local)
        # REMEDY: done.assign_add(len(mine))
        # ALSO: unexplained difference: lm/bias
        bias.assign_sub(0.2 * (bias.read_value() - mine.mean(axis=0)))

    rng = np.random.default_rng(65)
    shown = []
    for size in (64, 50, 41, 64, 33, 58, 46, 54):
        strategy.run(step, args=(rng.normal(size=(size, 5)).astype(np.float32),))
        shown.append(int(done.numpy()))
    return {"shown": shown, "bias": [round(float(x), 4) for x in bias.numpy()]}
