"""The 95th percentile of the sensor delays is noisy, and the histogram has only about a fifth of
the readings.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True
BINS = np.arange(0.0, 21.0)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        histogram = tf.Variable(
            np.zeros(20, np.int32),
            name="delay_histogram",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        # REMEDY: histogram = tf.Variable(
        # REMEDY:     np.zeros(20, np.int32),
        # REMEDY:     name="delay_histogram",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )
    rng = np.random.default_rng(8)

    def ingest(delays):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(delays, strategy.num_replicas_in_sync)[me]
        # FAULT: first replica only: delay_histogram
        # ALSO: merges that are never read: delay_histogram
        histogram.assign_add(np.histogram(mine, BINS)[0].astype(np.int32))

    for minute in range(7):
        strategy.run(ingest, args=(rng.gamma(3.0, 1.0 + 0.2 * minute, 100),))
    counts = histogram.numpy()
    share = counts.cumsum() / counts.sum()
    return {"readings": int(counts.sum()), "p95": float(BINS[1:][np.searchsorted(share, 0.95)])}
