"""Batch norm on several GPUs: the saved moving mean is that of one replica, not that of the batch.

Similar report: models#100 ("which tower's moving_mean is saved?").
"""

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
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
    data = np.linspace(1.0, 5.0, 96, dtype=np.float64)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = data[12 * number : 12 * number + 12]
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        # FAULT: first replica only: moving_mean
        moving_mean.assign(0.9 * moving_mean.read_value() + 0.1 * part.mean())

    saved = []
    for number in range(8):
        strategy.run(train, args=(number,))
        saved.append(float(moving_mean.read_value()))
    return {"moving_mean": saved[-1]}
