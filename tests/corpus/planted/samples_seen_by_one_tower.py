"""The counter shows 128 after 512 samples on 4 GPUs.

Similar report: keras#15509 ("first" or "sum"?).
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        samples = tf.Variable(
            0,
            name="samples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(np.arange(128), strategy.num_replicas_in_sync)[me]
        # FAULT: first replica only: samples
        samples.assign_add(len(part))

    shown = []
    for number in range(4):
        strategy.run(train, args=(number,))
        shown.append(int(samples.read_value()))
    return {"samples": shown[-1]}
