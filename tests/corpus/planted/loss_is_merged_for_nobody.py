"""Two GPUs are slower than one: the loss is merged in each step, but logged in every tenth step.

Similar report: tensorflow#33809 ("bought a second GPU").
"""

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
        # FAULT: merges that are never read: loss
        loss.assign(1.0 / (number + me + 1))

    shown = []
    for number in range(20):
        strategy.run(train, args=(number,))
        if number % 10 == 9:
            shown.append(float(loss.read_value()))
    return {"loss": shown[-1]}
