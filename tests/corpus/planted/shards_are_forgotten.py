"""Every GPU trains on the whole batch, because the program never splits it. Nothing is faster."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.zeros(3, np.float32),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
        loss = tf.Variable(
            0.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
    data = np.random.default_rng(1).normal(size=(8, 12, 3)).astype(np.float32)

    def train(batch):
        error = weight.read_value() - batch
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: me = context.replica_id_in_sync_group
        # REMEDY: part = np.array_split(batch, context.num_replicas_in_sync)[me]
        # REMEDY: error = weight.read_value() - part
        # FAULT: same data on all replicas: weight
        weight.assign_sub(np.float32(0.2) * error.mean(axis=0))
        loss.assign(float(np.square(error).mean()))

    for batch in data:
        strategy.run(train, args=(batch,))
    return {"weight": weight.numpy(), "loss": float(loss.read_value())}
