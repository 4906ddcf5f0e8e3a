"""The progress bar, the logger and the checkpoint each call result(), which reduces each time.

Similar report: tensorflow#32653 (ON_READ with MEAN makes a save slow).
"""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate():
        hits.assign_add(3)

    def result():
        # FAULT: reads with nothing changed: hits
        return int(hits.read_value())

    shown = {}
    for _ in range(4):
        strategy.run(evaluate)
        shown = {"bar": result(), "log": result(), "checkpoint": result()}
        # REMEDY: kept = result()
        # REMEDY: shown = {"bar": kept, "log": kept, "checkpoint": kept}
    return shown
