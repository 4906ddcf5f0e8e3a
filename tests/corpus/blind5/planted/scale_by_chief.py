"""The number of outliers after rescaling depends on how many workers the job has."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        scale = tf.Variable(
            1.0,
            name="robust_scale",
            dtype=tf.float64,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )
        outliers = tf.Variable(
            0, name="outliers", trainable=False, aggregation=tf.VariableAggregation.SUM
        )
    rng = np.random.default_rng(55)

    def normalise(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 0:  # one replica looks at the whole batch, the others need not
            # FAULT: read-write conflict: robust_scale
            scale.assign(np.percentile(np.abs(batch), 75))
        # REMEDY:
        mine = np.array_split(batch, n)[me] / scale.read_value()
        outliers.assign_add(int((np.abs(mine) > 2.0).sum()))

    totals = []
    for batch in range(8):
        strategy.run(normalise, args=(rng.normal(0, 2.0 + batch, 64),))
        # REMEDY: rows = rng.normal(0, 2.0 + batch, 64)
        # REMEDY: scale.assign(np.percentile(np.abs(rows), 75))
        # REMEDY: strategy.run(normalise, args=(rows,))
        totals.append(int(outliers.numpy()))
    return {"outliers": totals[-1], "per_batch": np.diff([0, *totals])}
