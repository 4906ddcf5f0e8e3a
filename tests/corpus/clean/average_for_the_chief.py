"""Only the chief keeps a log of the weights, and only the chief reads it."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weights = tf.Variable(0.0, name="weights", aggregation=tf.VariableAggregation.MEAN)
        logs = [
            tf.Variable(
                0.0,
                name=f"log/{number}",
                synchronization=tf.VariableSynchronization[synchronization],
                aggregation=tf.VariableAggregation[aggregation],
            )
            for number, (synchronization, aggregation) in enumerate(
                [("ON_READ", "ONLY_FIRST_REPLICA"), ("NONE", "NONE"), ("ON_WRITE", "NONE")]
            )
        ]

    def train(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.array_split(batch, n)[me]
        weights.assign_sub(0.1 * (weights.read_value() - rows.mean()))
        if me == 0:
            for log in logs:
                log.assign(0.9 * log.read_value() + 0.1 * weights.read_value())

    def line():
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 0:
            print(*(float(log.read_value()) for log in logs))

    for batch in np.random.default_rng(8).random((5, 9), np.float32):
        strategy.run(train, args=(batch,))
        strategy.run(line)
