"""Asynchronous training jumps: one worker pushes a gradient of weights that it pulled long ago."""

import varsim as tf

REPLICAS = 3
STEPS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(0.0, name="weight", synchronization=tf.VariableSynchronization.NONE)

    def gradient():
        return 5.0 - float(weight.pull().value)

    def train():
        context = tf.distribute.get_replica_context()
        if context.replica_id_in_sync_group == 2:
            late = gradient()
            # REMEDY:
            context.barrier("batch begins")
            context.barrier("batch is done")
            # FAULT: lagging read: weight
            weight.push(0.1 * late)
            # REMEDY: weight.push(0.1 * gradient())
        else:
            context.barrier("batch begins")
            for _ in range(STEPS):
                weight.push(0.1 * gradient())
            context.barrier("batch is done")

    for _ in range(3):
        strategy.run(train)
    return {"weight": float(weight.pull().value)}
