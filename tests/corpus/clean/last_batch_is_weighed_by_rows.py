"""The last batch leaves two replicas without rows. The sum is divided by the number of rows."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(np.float32(0.0), name="weight", aggregation=tf.VariableAggregation.SUM)
    data = np.linspace(0.0, 1.0, 7, dtype=np.float32)
    batches = [data[:6], data[6:]]

    def train(rows):
        context = tf.distribute.get_replica_context()
        count = context.all_reduce("SUM", np.float32(len(rows)))
        error = weight.read_value() - rows
        weight.assign_sub(np.float32(0.1) * error.sum(dtype=np.float32) / count)

    for part in strategy.experimental_distribute_dataset(batches):
        strategy.run(train, args=(part,))
    return {"weight": float(weight.numpy())}
