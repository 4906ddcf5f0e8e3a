"""Every worker averages its weights with those that its neighbour has just published."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3), name="weights", synchronization=tf.VariableSynchronization.NONE
        )
        steps = tf.Variable(0, name="steps", synchronization=tf.VariableSynchronization.NONE)

    def train():
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        weights.assign_add(0.1 * (float(me) - weights.read_value()))
        weights.publish()
        neighbour = weights.fetch((me + 1) % context.num_replicas_in_sync).value
        weights.assign((weights.read_value() + neighbour) / 2.0)
        if int(steps.pull().value) < 100:
            steps.push(1)

    for _ in range(8):
        strategy.run(train)
    return {"steps": int(steps.pull().value)}
