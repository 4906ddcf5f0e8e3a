"""With 2 GPUs the logged loss is half of the loss on one GPU.

Each replica divides its loss by the size of the global batch.

Similar report: keras#16285 (the loss is 1/x of what it was).
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            0.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
    data = np.linspace(0.5, 3.0, 64, dtype=np.float32)

    def step_on(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch = data[16 * number : 16 * number + 16]
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        # FAULT: scaled by the number of replicas: loss
        loss.assign((part**2).sum() / len(batch))

    logged = []
    for number in range(4):
        strategy.run(step_on, args=(number,))
        logged.append(float(loss.read_value()))
    return {"loss": logged[-1]}
