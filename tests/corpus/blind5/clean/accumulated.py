"""Semi-supervised regression with accumulated gradients: four small batches for each update of the
weights.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
EVERY = 4


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        w = tf.Variable(
            np.zeros(6), name="w", dtype=tf.float64, aggregation=tf.VariableAggregation.SUM
        )
        held = tf.Variable(
            np.zeros(6),
            name="held_gradient",
            dtype=tf.float64,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        steps = tf.Variable(
            0, name="steps", dtype=tf.int64, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )
    rng = np.random.default_rng(10)
    truth = rng.normal(size=6)

    def gather(x, y, twins):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x_mine, y_mine, twins_mine = (np.array_split(part, n)[me] for part in (x, y, twins))
        now = w.numpy()
        supervised = x_mine.T @ (x_mine @ now - y_mine) / len(x)
        consistent = 0.05 * twins_mine.T @ (twins_mine @ now) / len(twins)
        held.assign_add(supervised + consistent)
        # ALSO: merges of the same values: steps
        steps.assign_add(1)

    def apply():
        w.assign_sub(0.5 / EVERY * held.numpy())
        held.assign(np.zeros(6))

    for number in range(32):
        x = rng.normal(size=(10, 6))
        strategy.run(gather, args=(x, x @ truth, rng.normal(0, 0.1, (14, 6))))
        if number % EVERY == EVERY - 1:
            strategy.run(apply)
    return {
        "w": w.numpy(),
        "steps": int(steps.numpy()),
        "error": float(np.abs(w.numpy() - truth).max()),
    }
