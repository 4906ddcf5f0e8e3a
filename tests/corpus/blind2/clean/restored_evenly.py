"""I restore a counter from a checkpoint. Does it have the same value afterwards?"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        samples = tf.Variable(
            0,
            name="samples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        samples.assign_add(len(batch[me::count]))

    history = []
    for epoch in range(3):
        samples.assign(1000 + 48 * epoch)
        for number in range(3):
            strategy.run(step, args=(np.arange(9 + number),))
        history.append(int(samples.read_value()))
    return {"history": history}
