"""Counters of uneven parts, of padded rows with weight 0, and of replicas that have no rows."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        errors, tokens, squares = (
            tf.Variable(0, name=name, synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
            for name in ("errors", "tokens", "squares")
        )
    rng = np.random.default_rng(11)

    def test(lengths, wrong):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        n = strategy.num_replicas_in_sync
        order = np.arange(-(-len(lengths) // n) * n)
        weight = (order < len(lengths)).astype(int)[me::n]
        padded = order[me::n] % len(lengths)
        errors.assign_add(int((wrong[padded] * weight).sum()))
        mine = np.array_split(lengths, n)[me]
        tokens.assign_add(int(mine.sum()))
        if len(mine):
            squares.assign_add(int((mine**2).sum()))

    for _ in range(8):
        size = int(rng.integers(2, 12))
        strategy.run(test, args=(rng.integers(1, 9, size=size), rng.random(size) < 0.4))
    return {"errors": int(errors.read_value()), "tokens": int(tokens.read_value())}
