"""From the second epoch on, the hit rate at 10 that we log exceeds what an offline evaluation
gives, and finally exceeds 1.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="epoch/hits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def start_epoch():
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 0:
            # FAULT: partial reset: epoch/hits
            hits.assign(0)
        # REMEDY: hits.assign(0)

    def score(ranks):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = ranks[me * len(ranks) // n : (me + 1) * len(ranks) // n]
        hits.assign_add(int((mine < 10).sum()))

    rng = np.random.default_rng(2024)
    rates = []
    for epoch in range(4):
        strategy.run(start_epoch)
        for _ in range(3):
            strategy.run(score, args=(rng.integers(0, 25 - 3 * epoch, 40),))
        rates.append(int(hits.numpy()) / 120)
    return {"hit_rate": rates}
