"""Exploration goes down far too slowly: epsilon should be at its floor after 600 frames of all
actors together, but it is not.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True


def epsilon_at(frames):
    return max(0.05, 1.0 - frames / 600)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        frames = tf.Variable(
            0,
            name="actors/frames",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        explored = tf.Variable(
            0,
            name="actors/explored",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def act(dice):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(dice, strategy.num_replicas_in_sync)[me]
        # FAULT: stale read: actors/frames
        epsilon = epsilon_at(int(frames.read_value()))
        # ALSO: unexplained difference: actors/explored
        explored.assign_add(int((mine < epsilon).sum()))
        frames.assign_add(len(mine))
        return epsilon

    rng = np.random.default_rng(19)
    last = None
    for _ in range(12):
        last = strategy.experimental_local_results(strategy.run(act, args=(rng.random(60),)))[0]
    return {
        "epsilon": float(last),
        "frames": int(frames.numpy()),
        "explored": int(explored.numpy()),
    }
