"""The average sequence length over the replicas is always a whole number, and too small."""

import numpy as np

import varsim as tf

REPLICAS = 4
STEPS = 6
LENGTHS = np.array([17, 21, 18, 30, 25, 14])


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        length = tf.Variable(
            0,
            name="length",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def measure(step):
        context = tf.distribute.get_replica_context()
        own = np.int32(LENGTHS[(step + context.replica_id_in_sync_group) % len(LENGTHS)])
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, own)
        # FAULT: integer truncation: length
        length.assign(int(mean))

    shown = []
    for step in range(STEPS):
        strategy.run(measure, args=(step,))
        shown.append(int(length.read_value()))
        job.progress(step + 1, STEPS)
    return {"length": shown}
