"""The model was created before the scope, so that all GPUs train one variable, one after the other.

Similar report: keras-io#558.
"""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    # FAULT: variable outside the scope: weight
    weight = tf.Variable(np.zeros(2, np.float32), name="weight")
    # REMEDY: with strategy.scope():
    # REMEDY:     weight = tf.Variable(
    # REMEDY:         np.zeros(2, np.float32),
    # REMEDY:         name="weight",
    # REMEDY:         aggregation=tf.VariableAggregation.MEAN,
    # REMEDY:     )
    with strategy.scope():
        rows = tf.Variable(
            0,
            name="rows",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    data = np.arange(48, dtype=np.float32).reshape(4, 6, 2)

    def train(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        weight.assign_sub(np.float32(0.1) * (weight.read_value() - part.mean(axis=0)))
        rows.assign_add(len(part))

    for batch in data:
        strategy.run(train, args=(batch,))
    return {"weight": weight.numpy(), "rows": int(rows.read_value())}
