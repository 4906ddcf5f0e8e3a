"""Batch norm on several GPUs: the mean of the moving means of equal shards is saved."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        moving_mean = tf.Variable(
            0.0,
            name="moving_mean",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
    data = np.linspace(1.0, 5.0, 96, dtype=np.float64)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = data[12 * number : 12 * number + 12]
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        moving_mean.assign(0.9 * moving_mean.read_value() + 0.1 * part.mean())

    for number in range(8):
        strategy.run(train, args=(number,))
    return {"moving_mean": float(moving_mean.read_value())}
