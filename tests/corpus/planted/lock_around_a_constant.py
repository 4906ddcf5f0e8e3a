"""The workers read the learning rate under a lock. Only the program writes it."""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        learning_rate = tf.Variable(
            0.1, name="learning_rate", synchronization=tf.VariableSynchronization.ON_WRITE
        )
        weight = tf.Variable(
            1.0,
            name="weight",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train():
        context = tf.distribute.get_replica_context()
        # FAULT: lock that protects nothing
        with context.read_lock("rate"):
            rate = float(learning_rate.read_value())
        # REMEDY: rate = float(learning_rate.read_value())
        target = 3.0 + context.replica_id_in_sync_group
        weight.assign_add(rate * (target - float(weight.read_value())))

    for number in range(6):
        learning_rate.assign(0.1 / (number + 1))
        strategy.run(train)
    return {"weight": float(weight.read_value())}
