"""The summary counts more windows than the file has, so the anomaly rate is a bit too low."""

import math

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    replicas = strategy.num_replicas_in_sync
    on_read = {
        "synchronization": tf.VariableSynchronization.ON_READ,
        "aggregation": tf.VariableAggregation.SUM,
    }
    with strategy.scope():
        windows = tf.Variable(0, name="windows_scored", **on_read)
        anomalies = tf.Variable(0, name="anomalies", **on_read)
    rng = np.random.default_rng(21)

    def shard(batch, me):
        size = math.ceil(len(batch) / replicas)
        rows = np.arange(me * size, (me + 1) * size)
        real = rows < len(batch)
        return batch[np.minimum(rows, len(batch) - 1)], real

    def score(batch):
        rows, real = shard(batch, tf.distribute.get_replica_context().replica_id_in_sync_group)
        distance = np.sqrt((rows**2).mean(axis=1))
        anomalies.assign_add(int(((distance > 1.3) & real).sum()))
        # FAULT: counted twice: windows_scored
        windows.assign_add(len(rows))
        # REMEDY: windows.assign_add(int(real.sum()))

    for size in (50, 47, 61, 53, 30, 45):
        strategy.run(score, args=(rng.normal(size=(size, 12)),))
    found, total = int(anomalies.numpy()), int(windows.numpy())
    return {"anomalies": found, "windows": total, "rate": found / total}
