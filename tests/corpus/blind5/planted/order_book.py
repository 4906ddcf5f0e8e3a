"""Each morning a few open orders are missing, although the evening's total in the snapshot was
right.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        open_orders = tf.Variable(
            0,
            name="open_orders",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: open_orders = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="open_orders",
        # REMEDY:     dtype=tf.float64,
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )
    rng = np.random.default_rng(99)
    snapshot, evenings = 1003, []

    def session(opened, closed):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        n = strategy.num_replicas_in_sync
        for new, done in zip(opened[me::n], closed[me::n], strict=False):
            open_orders.assign_add(int(new) - int(done))
            # REMEDY: open_orders.assign_add(float(new) - float(done))

    for _day in range(5):
        # FAULT: integer truncation: open_orders
        open_orders.assign(snapshot)
        # REMEDY: open_orders.assign(float(snapshot))
        strategy.run(session, args=(rng.integers(0, 40, 16), rng.integers(0, 30, 16)))
        snapshot = int(open_orders.numpy())
        evenings.append(snapshot)
    return {"evenings": evenings}
