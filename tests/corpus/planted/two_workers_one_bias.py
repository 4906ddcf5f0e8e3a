"""Two of four workers update the bias. It is not defined which update is kept."""

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        bias = tf.Variable(
            0.0,
            name="bias",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me % 2:
            # FAULT: write-write conflict: bias
            bias.assign(float(number * me))
        # REMEDY:

    shown = []
    for number in range(1, 6):
        strategy.run(train, args=(number,))
        # REMEDY: strategy.run(train, args=(number,))
        # REMEDY: bias.assign(float(number))
        # ALSO: divergence: bias
        shown.append(float(bias.read_value()))
    return {"bias": shown[-1]}
