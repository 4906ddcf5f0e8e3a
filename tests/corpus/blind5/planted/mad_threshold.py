"""The robust threshold (median absolute deviation) of the drift detector is not the one of the
offline script.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        mad = tf.Variable(
            1.0,
            name="drift/mad",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
    rng = np.random.default_rng(70)

    def refresh(residuals):
        ctx = tf.distribute.get_replica_context()
        part = np.array_split(residuals, strategy.num_replicas_in_sync)[
            ctx.replica_id_in_sync_group
        ]
        # FAULT: unexplained difference: drift/mad
        mad.assign(np.median(np.abs(part - np.median(part))))
        # REMEDY: every = ctx.all_gather(part, axis=0)
        # REMEDY: mad.assign(np.median(np.abs(every - np.median(every))))

    thresholds, alarms = [], 0
    for block in range(10):
        residuals = np.sort(rng.standard_t(3, 75)) if block % 2 else rng.standard_t(3, 75)
        strategy.run(refresh, args=(residuals,))
        thresholds.append(3 * 1.4826 * float(mad.numpy()))
        alarms += int((np.abs(residuals) > thresholds[-1]).sum())
    return {"thresholds": thresholds, "alarms": alarms}
