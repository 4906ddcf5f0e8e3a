"""The chief sets a temperature, made outside the scope, which the others read in the same step."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    temperature = tf.Variable(1.0, name="temperature")

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me == 0:
            # FAULT: read-write conflict: temperature
            temperature.assign(1.0 / number)
            # REMEDY:
            return 1.0 / number
        return float(temperature.read_value())

    for number in range(1, 6):
        strategy.run(train, args=(number,))
        # REMEDY: temperature.assign(1.0 / number)
        # REMEDY: strategy.run(train, args=(number,))
