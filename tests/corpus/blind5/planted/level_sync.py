"""Exponential smoothing gives the right level, but the network is busier than with any other of
our jobs.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        level = tf.Variable(
            np.zeros(12),
            name="holt/level",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.NONE,
        )
        # REMEDY: level = tf.Variable(
        # REMEDY:     np.zeros(12),
        # REMEDY:     name="holt/level",
        # REMEDY:     dtype=tf.float64,
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )
    rng = np.random.default_rng(4)
    season = np.sin(np.arange(12) / 12 * 2 * np.pi)

    def smooth(readings):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        sensors = np.array_split(readings, strategy.num_replicas_in_sync)[me]
        level.assign(0.8 * level.numpy() + 0.2 * sensors.mean(axis=0))
        # FAULT: manual synchronisation after every write: holt/level
        level.sync("MEAN")
        # REMEDY:

    for week in range(10):
        readings = 20 + week + season + rng.normal(0, 0.5, (9, 12))
        strategy.run(smooth, args=(readings,))
    return {"level": strategy.experimental_local_results(level)[0].numpy()}
