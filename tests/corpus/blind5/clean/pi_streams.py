"""Pi by Monte Carlo: each replica draws from a stream of its own, and the hits of all replicas are
added.
"""

import numpy as np

import varsim as tf

REPLICAS = 5


def run(job: tf.Job):
    strategy = job.strategy
    streams = np.random.SeedSequence(314).spawn(strategy.num_replicas_in_sync)
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        draws = tf.Variable(
            0,
            name="draws",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def throw(round_number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        child = np.random.SeedSequence(streams[me].entropy, spawn_key=(me, round_number))
        rng = np.random.default_rng(child)
        darts = rng.random((4000, 2))
        hits.assign_add(int((darts**2).sum(1).__lt__(1).sum()))
        draws.assign_add(len(darts))

    history = []
    for round_number in range(6):
        strategy.run(throw, args=(round_number,))
        history.append(4 * int(hits.numpy()) / int(draws.numpy()))
    return {"pi": history[-1], "off_by": abs(history[-1] - np.pi), "history": history}
