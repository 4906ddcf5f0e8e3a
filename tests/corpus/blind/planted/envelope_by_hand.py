"""In each step I write the mean of the replicas' envelopes back. Is there a better way?"""

import numpy as np

import varsim as tf

REPLICAS = 2
STEPS, BATCH = 5, 8
DATA = (np.arange(STEPS * BATCH, dtype=np.float32) * 13) % 29


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        spread = tf.Variable(
            np.zeros(2, np.float32),
            name="spread",
            synchronization=tf.VariableSynchronization.NONE,
        )
        # REMEDY: spread = tf.Variable(
        # REMEDY:     np.zeros(2, np.float32),
        # REMEDY:     name="spread",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def scan(batch):
        rows = shard(batch, n)
        own = spread.read_value()
        spread.assign(np.array([own[0] + rows.min(), own[1] + rows.max()], np.float32))

    def synchronise(variable):
        own = [one.numpy() for one in strategy.experimental_local_results(variable)]
        # FAULT: manual synchronisation after every write: spread
        variable.assign(np.mean(own, axis=0))
        return np.mean(own, axis=0)

    for step in range(STEPS):
        strategy.run(scan, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        agreed = synchronise(spread)
        # REMEDY: agreed = spread.numpy()
        job.progress(step + 1, STEPS)
    return {"spread": agreed.tolist()}
