"""The chief sets a temperature, made outside the scope, and the others read it after a barrier."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    temperature = tf.Variable(1.0, name="temperature")

    def train(number):
        context = tf.distribute.get_replica_context()
        if context.replica_id_in_sync_group == 0:
            temperature.assign(1.0 / number)
        context.barrier()
        value = float(temperature.read_value())
        context.barrier()
        return value

    for number in range(1, 6):
        strategy.run(train, args=(number,))
