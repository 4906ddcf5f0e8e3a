"""Rare symbols get a higher smoothed probability on the cluster than on my laptop, although the
counts come from the same file.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
SYMBOLS = 8
PSEUDO = 2.0


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        # FAULT: starts at N times its initial value: symbol_counts
        counts = tf.Variable(
            np.full(SYMBOLS, PSEUDO),
            name="symbol_counts",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: counts = tf.Variable(
        # REMEDY:     np.zeros(SYMBOLS),
        # REMEDY:     name="symbol_counts",
        # REMEDY:     dtype=tf.float64,
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )
        # REMEDY: counts.assign(np.full(SYMBOLS, PSEUDO))
    rng = np.random.default_rng(64)
    chance = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.03, 0.01, 0.0])

    def tally(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        counts.assign_add(np.bincount(mine, minlength=SYMBOLS).astype(np.float64))

    surprise = []
    for _hour in range(5):
        batch = rng.choice(SYMBOLS, 70, p=chance)
        strategy.run(tally, args=(batch,))
        smoothed = counts.numpy()
        probability = smoothed / smoothed.sum()
        surprise.append(float(-np.log(probability[7])))
    return {"surprise_of_unseen": surprise, "probability": probability}
