"""The histogram of an epoch grows from epoch to epoch: the program clears only its own copy."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    empty = np.zeros(4, np.int32)
    with strategy.scope():
        histogram = tf.Variable(
            empty, name="histogram", synchronization=SYNC.ON_READ, aggregation=AGG.SUM
        )
    rng = np.random.default_rng(7)

    def predict(logits):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(logits, strategy.num_replicas_in_sync)[me]
        histogram.assign_add(np.bincount(mine.argmax(axis=1), minlength=4).astype(np.int32))

    shown = []
    for _ in range(4):
        # FAULT: partial reset: histogram
        histogram.values[0].assign(empty)
        # REMEDY: histogram.assign(empty)
        strategy.run(predict, args=(rng.normal(size=(15, 4)),))
        # ALSO: partial reset: histogram
        shown.append(histogram.read_value().tolist())
    return {"histogram": shown[-1]}
