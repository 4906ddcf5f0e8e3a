"""Every worker stores its largest sample. I get one of these values, not always the same one."""

import numpy as np

import varsim as tf

REPLICAS = 4
STEPS, BATCH = 4, 24
DATA = (np.arange(STEPS * BATCH, dtype=np.float32) * 37) % 101


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        largest = tf.Variable(0.0, name="largest")

    def note(value):
        # FAULT: write-write conflict: largest
        largest.assign(value)

    def scan(batch):
        note(shard(batch, n).max())

    for step in range(STEPS):
        strategy.run(scan, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        # REMEDY: largest.assign(DATA[step * BATCH : (step + 1) * BATCH].max())
        job.progress(step + 1, STEPS)
    # ALSO: divergence: largest
    return {"largest": float(largest.numpy())}
