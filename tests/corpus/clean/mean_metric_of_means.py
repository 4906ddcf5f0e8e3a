"""A mean metric: total and count grow N times as fast, and their quotient is right."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        total, count = (
            tf.Variable(0.0, name=name, synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
            for name in ("mean/total", "mean/count")
        )
    data = np.random.default_rng(7).normal(1.0, 2.0, (6, 12)).astype(np.float32)

    def step(number):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        total.assign_add((np.array_split(data[number], n)[me] ** 2).mean())
        count.assign_add(1.0)

    shown = []
    for number in range(6):
        strategy.run(step, args=(number,))
        sums = total.read_value()
        shown.append(float(sums) / float(count.read_value()))
    return {"mean": shown[-1]}
