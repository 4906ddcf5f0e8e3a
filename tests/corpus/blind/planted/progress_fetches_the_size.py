"""Each step shows the percentage, and with more workers this becomes slower."""

import numpy as np

import varsim as tf

REPLICAS = 4
STEPS = 8
FILES = np.arange(40)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        dataset_size = tf.Variable(
            0,
            name="dataset_size",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        done = tf.Variable(
            0,
            name="done",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def index():
        dataset_size.assign_add(len(shard(FILES, n)))

    def work(batch):
        done.assign_add(len(shard(batch, n)))

    strategy.run(index)
    # REMEDY: strategy.run(index)
    # REMEDY: size = int(dataset_size.read_value())
    for step in range(STEPS):
        strategy.run(work, args=(FILES[5 * step : 5 * step + 5],))
        # FAULT: reads with nothing changed: dataset_size
        size = int(dataset_size.read_value())
        # REMEDY:
        files = int(done.read_value())
        job.progress(step + 1, STEPS, percent=100 * files / size)
    return {"done": files}
