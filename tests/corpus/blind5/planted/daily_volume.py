"""The first day's volume is right; from the second day on the daily volume contains most of the
earlier days.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        volume = tf.Variable(
            0.0,
            name="day_volume",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(2024)

    def hour(shares, opening):
        ctx = tf.distribute.get_replica_context()
        me = ctx.replica_id_in_sync_group
        if opening and me == 0:
            # FAULT: partial reset: day_volume
            volume.assign(0.0)
        # REMEDY: if opening:
        # REMEDY:     volume.assign(0.0)
        volume.assign_add(float(np.array_split(shares, strategy.num_replicas_in_sync)[me].sum()))

    days = []
    for _day in range(4):
        for h in range(6):
            shares = rng.integers(100, 900, 24).astype(np.float64)
            strategy.run(hour, args=(shares, h == 0))
        days.append(float(volume.numpy()))
    return {"volume": days, "busiest": int(np.argmax(days))}
