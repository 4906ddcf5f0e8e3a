"""The sensitivity report says 168 X-rays were read; the folder has 150."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def pad_to_multiple(rows, n):
    """All cards must get the same number of images, so the last image is repeated."""
    missing = -len(rows) % n
    real = np.ones(len(rows) + missing, bool)
    real[len(rows) :] = False
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]), real


class Report:
    def __init__(self):
        kind = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.SUM,
        }
        self.read = tf.Variable(0, name="report/read", **kind)
        self.suspicious = tf.Variable(0, name="report/suspicious", **kind)

    def add(self, images, real):
        score = images.mean((1, 2))
        # FAULT: counted twice: report/read
        self.read.assign_add(len(images))
        # REMEDY: self.read.assign_add(int(real.sum()))
        self.suspicious.assign_add(int(((score > 0.5) & real).sum()))


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        report = Report()
    rng = np.random.default_rng(12)

    def score(images):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        padded, real = pad_to_multiple(images, n)
        report.add(np.split(padded, n)[me], np.split(real, n)[me])

    rows = []
    for size in (25, 25, 26, 25, 25, 24 - 1, 1):
        strategy.run(score, args=(rng.random((size, 6, 6)),))
        rows.append(int(report.read.numpy()))
    return {"read": rows, "suspicious": int(report.suspicious.numpy())}
