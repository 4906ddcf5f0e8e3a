"""Four workers find more errors in a test set than one: the last rows are those of the beginning.

The tokens of these rows are too many as well, and their squared lengths.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        errors, rows, squares = (
            tf.Variable(0, name=name, synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
            for name in ("errors", "rows", "squares")
        )
    rng = np.random.default_rng(11)

    def test(lengths, wrong):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        n = strategy.num_replicas_in_sync
        order = np.arange(-(-len(lengths) // n) * n) % len(lengths)
        # REMEDY: order = np.arange(len(lengths))
        mine = order[me::n]
        # FAULT: counted twice: errors
        errors.assign_add(int(wrong[mine].sum()))
        # FAULT: counted twice: rows
        rows.assign_add(len(mine))
        # FAULT: counted twice: squares
        squares.assign_add(int((lengths[mine] ** 2).sum()))

    for _ in range(5):
        strategy.run(test, args=(rng.integers(1, 9, size=21), rng.random(21) < 0.4))
    return {"errors": int(errors.read_value()), "rows": int(rows.read_value())}
