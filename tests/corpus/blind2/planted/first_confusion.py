"""My confusion matrix has only a third of the entries that it should have."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        confusion = tf.Variable(
            np.zeros((3, 3), np.float32),
            name="confusion",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def step(truth, guess):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        matrix = np.zeros((3, 3), np.float32)
        np.add.at(matrix, (truth[me::count], guess[me::count]), 1.0)
        confusion.assign_add(matrix)

    random = np.random.default_rng(31)
    for _ in range(7):
        truth = random.integers(0, 3, size=18)
        guess = np.where(random.random(18) < 0.7, truth, random.integers(0, 3, size=18))
        strategy.run(step, args=(truth, guess))
    # FAULT: first replica only: confusion
    matrix = np.asarray(confusion.read_value())
    return {"matrix": matrix.tolist(), "accuracy": float(np.trace(matrix) / matrix.sum())}
