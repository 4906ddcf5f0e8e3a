"""The mean of the gradients gets a name, but the next line applies the own gradient."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            np.zeros(3, np.float32),
            name="weight",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
    data = np.random.default_rng(0).normal(size=(4, 12, 3)).astype(np.float32)

    def train(batch):
        context = tf.distribute.get_replica_context()
        part = np.array_split(batch, 3)[context.replica_id_in_sync_group]
        gradient = weight.read_value() - part.mean(axis=0)
        # FAULT: discarded result:
        mean_gradient = context.all_reduce("MEAN", gradient)  # noqa: F841  # the fault
        # REMEDY: gradient = context.all_reduce("MEAN", gradient)
        # ALSO: stale read: weight
        weight.assign_sub(np.float32(0.1) * gradient)

    for batch in data:
        strategy.run(train, args=(batch,))
    return {"weight": weight.read_value()}
