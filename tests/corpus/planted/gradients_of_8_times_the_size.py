"""With the same learning rate, training diverges on several GPUs: mean gradients are summed.

Similar report: keras#20601.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.float32(0.0),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
    data = np.linspace(0.5, 3.0, 60, dtype=np.float32)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = data[12 * number : 12 * number + 12]
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        gradient = (weight.read_value() - part).mean()
        # FAULT: scaled by the number of replicas: weight
        weight.assign_sub(0.1 * gradient)

    for number in range(5):
        strategy.run(train, args=(number,))
    return {"weight": float(weight.numpy())}
