"""The program calls result() once per epoch, and passes the value to all functions that need it."""

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

    shown = []
    for _ in range(4):
        strategy.run(evaluate)
        result = int(hits.read_value())
        shown += [result, result, result]
    return {"hits": shown[-1]}
