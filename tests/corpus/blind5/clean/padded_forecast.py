"""Mean absolute error of a forecast over series of different lengths; the padding has weight zero."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    counters = {
        "aggregation": tf.VariableAggregation.SUM,
        "synchronization": tf.VariableSynchronization.ON_READ,
    }
    with strategy.scope():
        total = tf.Variable(0.0, name="mae/total", dtype=tf.float64, **counters)
        count = tf.Variable(0, name="mae/count", dtype=tf.int64, **counters)
    rng = np.random.default_rng(505)

    def pad(series, length):
        rows = -(-len(series) // n) * n  # a multiple of the number of replicas
        table, mask = np.zeros((rows, length)), np.zeros((rows, length), bool)
        for row, values in enumerate(series):
            table[row, : len(values)], mask[row, : len(values)] = values, True
        return table, mask

    def evaluate(table, mask):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        size = len(table) // n
        values, real = table[me * size : (me + 1) * size], mask[me * size : (me + 1) * size]
        naive = np.abs(values[:, 1:] - values[:, :-1])
        real = real[:, 1:]
        total.assign_add(float((naive * real).sum()))
        count.assign_add(int(real.sum()))

    curve = []
    for batch in range(6):
        series = [np.cumsum(rng.normal(size=rng.integers(4, 20))) for _ in range(7 + batch)]
        table, mask = pad(series, 20)
        total.assign(0.0)
        count.assign(0)
        strategy.run(evaluate, args=(table, mask))
        curve.append(float(total.numpy() / count.numpy()))
    return {"mae": curve}
