"""Local SGD: the program averages the weights after every fourth step."""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(
            0.0,
            name="weight",
            synchronization=tf.VariableSynchronization.NONE,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        weight.assign_sub(0.1 * (number + me))
        if number % 4 == 3:
            context = tf.distribute.get_replica_context()
            weight.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, weight.read_value()))

    for number in range(12):
        strategy.run(train, args=(number,))
