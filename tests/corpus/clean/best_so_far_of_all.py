"""All replicas write the best loss, which becomes the mean of their values."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        best = tf.Variable(
            10.0,
            name="best",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def find_best(loss):
        best.assign(loss)

    def stop(loss):
        return bool(loss > best.read_value())

    for number in range(6):
        strategy.run(find_best, args=(5.0 - number,))
        strategy.run(stop, args=(6.0 - number,))
