"""The global step counts the replicas, and the training ends at half of its steps."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        step = tf.Variable(0, name="global_step", aggregation=tf.VariableAggregation.SUM)
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
    data = np.linspace(0.0, 4.0, 12, dtype=np.float32)

    def train():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.array_split(data, strategy.num_replicas_in_sync)[me]
        weight.assign_sub(0.1 * (weight.read_value() - rows).mean())
        # FAULT: scaled by the number of replicas: global_step
        step.assign_add(1)

    while int(step.read_value()) < 12:
        strategy.run(train)
    return {"weight": float(weight.read_value())}
