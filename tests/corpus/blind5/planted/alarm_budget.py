"""The detector should send at most 12 alarms per shift to the operators, but sends up to three
times as many.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
BUDGET = 12


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        sent = tf.Variable(
            0,
            name="alarms_sent",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: sent = tf.Variable(
        # REMEDY:     0,
        # REMEDY:     name="alarms_sent",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )
    rng = np.random.default_rng(31)

    def watch(signal):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = signal[me :: strategy.num_replicas_in_sync]
        alarms = int((np.abs(mine) > 1.6).sum())
        # FAULT: stale read: alarms_sent
        left = BUDGET - int(sent.read_value())
        if left > 0:
            sent.assign_add(min(alarms, left))

    history = []
    for _minute in range(14):
        strategy.run(watch, args=(rng.normal(size=30),))
        history.append(int(sent.numpy()))
    return {"sent": history[-1], "history": history}
