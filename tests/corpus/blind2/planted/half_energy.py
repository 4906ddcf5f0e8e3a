"""With float16 on two workers my squared norm becomes infinite.

The number that each worker prints is finite.
"""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        energy = tf.Variable(
            np.float16(0.0),
            name="energy",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: energy = tf.Variable(
        # REMEDY:     np.float32(0.0),
        # REMEDY:     name="energy",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def step(signal):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        half = np.split(signal, 2)[me]
        # FAULT: overflow of a sum: energy
        energy.assign(np.float16(np.sum(half.astype(np.float64) ** 2)))
        # REMEDY: energy.assign(np.float32(np.sum(half.astype(np.float64) ** 2)))

    infinite = 0
    for number in range(7):
        signal = np.full(20, 30.0 + 5.0 * number, np.float32)
        strategy.run(step, args=(signal,))
        infinite += int(np.isinf(energy.read_value()))
    return {"infinite": infinite}
