"""The last batch has one row for 4 GPUs: the mean of no rows makes the loss and the weight NaN.

Similar reports: tensorflow#36224 and tensorflow#41657.
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        loss = tf.Variable(
            0.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        weight = tf.Variable(
            np.float32(0.0), name="weight", aggregation=tf.VariableAggregation.MEAN
        )
    data = np.linspace(0.0, 1.0, 9, dtype=np.float32)
    batches = [data[first : first + 4] for first in range(0, 9, 4)]
    # REMEDY: batches = [data[first : first + 4] for first in range(0, 8, 4)]

    def mean(rows):
        with np.errstate(invalid="ignore"):
            return np.sum(rows, dtype=np.float32) / np.float32(len(rows))

    def train(rows):
        error = weight.read_value() - rows
        # FAULT: NaN or infinity: loss
        loss.assign_add(mean(error**2) / np.float32(n))
        # FAULT: NaN or infinity: weight
        weight.assign_sub(np.float32(0.1) * mean(error))

    shown = []
    for part in strategy.experimental_distribute_dataset(batches):
        strategy.run(train, args=(part,))
        shown.append(float(loss.read_value()))
    return {"loss": shown, "weight": float(weight.numpy())}
