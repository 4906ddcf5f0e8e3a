"""Each refresh of the progress bar collects the size of the data set from all workers."""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        total = tf.Variable(
            0,
            name="total",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        done = tf.Variable(
            0,
            name="done",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def load():
        total.assign(100)

    def train():
        done.assign_add(10)

    strategy.run(load)
    # REMEDY: strategy.run(load)
    # REMEDY: size = int(total.read_value())
    shown = []
    for _ in range(8):
        strategy.run(train)
        # FAULT: reads with nothing changed: total
        shown.append(int(done.read_value()) / int(total.read_value()))
        # REMEDY: shown.append(int(done.read_value()) / size)
    return {"done": shown[-1]}
