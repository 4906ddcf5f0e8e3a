"""The learning rate grows with the number of GPUs, and gradients are divided by it.

SUM then has the mean over the replicas, and the factor cancels.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job) -> dict[str, float]:
    strategy = job.strategy
    with strategy.scope():
        rate = tf.Variable(
            0.0, name="rate", synchronization=SYNC.ON_WRITE, aggregation=AGG.ONLY_FIRST_REPLICA
        )
        weights = tf.Variable(
            np.zeros(2, np.float32),
            name="weights",
            synchronization=SYNC.ON_WRITE,
            aggregation=AGG.SUM,
        )
    rng = np.random.default_rng(15)
    goal = np.float32([1.0, -0.5])

    def train(batch: np.ndarray) -> None:
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        gradient = x.T @ (x @ (weights.read_value() - goal)) / np.float32(len(batch))
        weights.assign_sub(np.float32(rate.read_value() / strategy.num_replicas_in_sync) * gradient)

    for step in range(6):
        base = 0.03 * (step + 1)
        rate.assign(base * strategy.num_replicas_in_sync)
        strategy.run(train, args=(rng.normal(size=(12, 2)).astype(np.float32),))
    return {"first": float(weights.read_value()[0])}
