"""I restore my sample counter from a checkpoint, and it comes back smaller than I saved it."""

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
        # REMEDY: samples = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="samples",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def step(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        samples.assign_add(len(batch[me::count]))

    history = []
    for epoch in range(3):
        saved = 1003 + 50 * epoch
        # FAULT: integer truncation: samples
        samples.assign(saved)
        for number in range(3):
            strategy.run(step, args=(np.arange(8 + number),))
        history.append(int(samples.read_value()))
    return {"history": history}
