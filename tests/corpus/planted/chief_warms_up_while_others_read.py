"""The chief sets the temperature while the other workers already read it in the same step."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        temperature = tf.Variable(
            1.0,
            name="temperature",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 0:
            temperature.assign(1.0 / (number + 1))
            return 0.0
        # REMEDY:
        # FAULT: read-write conflict: temperature
        # ALSO: stale read: temperature
        return float(temperature.read_value())

    for number in range(1, 7):
        strategy.run(train, args=(number,))
        # REMEDY: temperature.assign(1.0 / (number + 1))
        # REMEDY: strategy.run(train, args=(number,))
