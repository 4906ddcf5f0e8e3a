"""The loss is averaged in each step, and shown after each step."""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            0.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        loss.assign(1.0 / (number + me + 1))

    shown = []
    for number in range(20):
        strategy.run(train, args=(number,))
        shown.append(float(loss.read_value()))
    return {"loss": shown[-1]}
