"""Replicas may be 8 steps apart, but they exchange the loss at every step: none is ever ahead."""

import varsim as tf

REPLICAS = 2
STEPS = 20


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.BoundedStaleness(8),
            aggregation=tf.VariableAggregation.MEAN,
        )
        # REMEDY: weight = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="weight",
        # REMEDY:     synchronization=tf.BoundedStaleness(1),
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def train():
        context = tf.distribute.get_replica_context()
        for _ in range(STEPS):
            error = 5.0 - float(weight.read_value())
            # FAULT: bound not reached: weight
            weight.assign_add(0.1 * error, read_value=False)
            if context.replica_id_in_sync_group == 0:
                context.send(error * error, to=1)
                other = context.recv(1)
            else:
                other = context.recv(0)
                context.send(error * error, to=0)
            assert other >= 0

    strategy.run(train)
    return {"weight": float(weight.read_value())}
