"""Components that are set back by the program one by one, by all replicas, or are used alone."""

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
        total = tf.Variable(0.0, name="total", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
        logged = tf.Variable(0, name="logged", synchronization=SYNC.ON_READ, aggregation=AGG.NONE)
    rng = np.random.default_rng(7)

    def predict(logits):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(logits, strategy.num_replicas_in_sync)[me]
        histogram.assign_add(np.bincount(mine.argmax(axis=1), minlength=4).astype(np.int32))
        total.assign_sub(total.read_value())
        total.assign_add(np.float32(mine.max(axis=1).sum()))
        if me == 0:
            logged.assign_add(len(logits))

    shown = []
    for _ in range(4):
        for one in histogram.values:
            one.assign(empty)
        logged.values[0].assign(0)
        strategy.run(predict, args=(rng.normal(size=(15, 4)),))
        shown.append([*histogram.read_value().tolist(), float(total.read_value())])
        shown.append(int(logged.values[0].numpy()))
    return {"shown": shown[-1]}
