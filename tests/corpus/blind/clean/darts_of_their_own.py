"""Each replica has its own random state and its own count of hits. The counts are added once."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS, DARTS = 6, 50


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        generator = tf.Variable(
            np.uint32(1),
            name="generator",
            synchronization=tf.VariableSynchronization.NONE,
        )
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.NONE,
        )

    def seed():
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        generator.assign(np.uint32(1000 + 17 * rank))

    def throw():
        state = int(generator.read_value())
        points = np.random.default_rng(state).random((DARTS, 2))
        hits.assign_add(int(((points**2).sum(axis=1) < 1).sum()))
        generator.assign(np.uint32((state * 1664525 + 1013904223) % 2**32))

    strategy.run(seed)
    for step in range(STEPS):
        strategy.run(throw)
        job.progress(step + 1, STEPS)
    total = int(strategy.reduce(tf.distribute.ReduceOp.SUM, hits, axis=None))
    return {"pi": 4 * total / (STEPS * DARTS * strategy.num_replicas_in_sync)}
