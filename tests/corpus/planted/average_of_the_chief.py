"""Only the chief keeps the average of the weights. All workers evaluate with their copy."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3, np.float32), name="weights", aggregation=tf.VariableAggregation.MEAN
        )
        average = tf.Variable(
            np.zeros(3, np.float32),
            name="average",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def train(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rows = np.array_split(batch, n)[me]
        weights.assign_sub(0.1 * (weights.read_value() - rows.mean(axis=0)))
        if me == 0:
            # FAULT: divergence: average
            average.assign(0.9 * average.read_value() + 0.1 * weights.read_value())
        # REMEDY: average.assign(0.9 * average.read_value() + 0.1 * weights.read_value())

    def evaluate(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # ALSO: stale read: average
        return float(np.abs(np.array_split(batch, n)[me] - average.read_value()).sum())

    random = np.random.default_rng(8)
    for _ in range(5):
        strategy.run(train, args=(random.normal(1.0, 1.0, (9, 3)).astype(np.float32),))
        strategy.run(evaluate, args=(random.normal(1.0, 1.0, (6, 3)).astype(np.float32),))
