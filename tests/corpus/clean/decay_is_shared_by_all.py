"""Weight decay is equal on all GPUs: each subtracts its share, and the shares are summed."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weight = tf.Variable(
            np.ones(3, np.float32),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
        average = tf.Variable(
            np.ones(3, np.float32),
            name="average",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        rows = tf.Variable(
            0,
            name="rows",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
    data = np.random.default_rng(1).normal(size=(6, 16, 3)).astype(np.float32)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(data[number][: 16 - 4 * (number % 3)], n)[me]
        rows.assign_add(len(part))
        weight.assign_sub(np.float32(0.1) * weight.read_value() / np.float32(n))
        weight.assign_sub(np.float32(0.2 / n) * (weight.read_value() - part.mean(axis=0)))
        average.assign(0.9 * average.read_value() + 0.1 * weight.read_value())
        return int(rows.read_value())

    for number in range(6):
        strategy.run(train, args=(number,))
    return {"weight": weight.numpy(), "average": average.read_value()}
