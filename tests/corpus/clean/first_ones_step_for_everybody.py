"""All workers write a step, and all workers use the step of the first worker."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        step = tf.Variable(
            0,
            name="step",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        step.assign_add(1 + me)
        return int(step.read_value())

    for _ in range(8):
        strategy.run(train)
