"""The training loss of two GPUs differs from that of one, although nothing is random.

One GPU gets 3 rows, the other one 1 row.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            0.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
    data = np.linspace(-1.0, 2.0, 40, dtype=np.float64) ** 2

    def look(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = data[4 * number : 4 * number + 4]
        parts = [rows[:3], rows[3:]] if strategy.num_replicas_in_sync > 1 else [rows]
        # FAULT: mean of means: loss
        loss.assign(parts[me].mean())
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: own = np.asarray(parts[me].mean(), "float32")
        # REMEDY: mean = context.all_reduce("MEAN", own, weight=len(parts[me]))
        # REMEDY: loss.assign(mean)

    shown = []
    for number in range(10):
        strategy.run(look, args=(number,))
        shown.append(float(loss.read_value()))
    return {"loss": shown[-1]}
