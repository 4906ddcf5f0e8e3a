"""I average the local weights myself after each step, and it is slower than MirroredStrategy."""

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
        # REMEDY: weight = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="weight",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # ALSO: write-write conflict: weight
        weight.assign_sub(0.1 * (number + me))
        context = tf.distribute.get_replica_context()
        # FAULT: manual synchronisation after every write: weight
        weight.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, weight.read_value()))
        # REMEDY:

    for number in range(8):
        strategy.run(train, args=(number,))
