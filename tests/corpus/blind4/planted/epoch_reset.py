"""The character error rate of the second epoch contains most of the first epoch's errors."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
CHARACTERS = 600


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        edits = tf.Variable(
            0,
            name="val/edits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(44)

    def on_epoch_begin(epoch):
        context = tf.distribute.get_replica_context()
        if context.replica_id_in_sync_group == 0:  # only the chief does the housekeeping
            # FAULT: partial reset: val/edits
            edits.assign(0)
        # REMEDY: edits.assign(0)
        return epoch

    def test_step(distances):
        context = tf.distribute.get_replica_context()
        mine = np.array_split(distances, strategy.num_replicas_in_sync)[
            context.replica_id_in_sync_group
        ]
        edits.assign_add(int(mine.sum()))

    rates = []
    for epoch in range(5):
        strategy.run(on_epoch_begin, args=(epoch,))
        for _ in range(4):
            strategy.run(test_step, args=(rng.poisson(3.0 / (1 + epoch), 14),))
        rates.append(int(edits.numpy()) / CHARACTERS)
    return {"cer": rates}
