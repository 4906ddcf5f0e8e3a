"""After each step the program prints the number of samples so far."""

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        samples = tf.Variable(
            0,
            name="samples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def train(number):
        samples.assign_add(8)

    shown = []
    for number in range(5):
        strategy.run(train, args=(number,))
        shown.append(int(samples.read_value()))
    return {"samples": shown[-1]}
