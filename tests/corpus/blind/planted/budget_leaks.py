"""Each time the program adds tokens to the budget, a few of them are missing."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS = 4
COSTS = np.array([[3, 1, 4], [1, 5, 9], [2, 6, 5], [3, 5, 8]])


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        budget = tf.Variable(
            np.zeros(2, np.int32),
            name="budget",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def spend(step):
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        cost = int(COSTS[step, rank])
        budget.assign_sub([cost, 1])

    left = np.array([0, 0])
    for step in range(STEPS):
        # FAULT: integer truncation: budget
        budget.assign((left + np.array([100, 50])).tolist())
        strategy.run(spend, args=(step,))
        left = budget.numpy()
        job.progress(step + 1, STEPS)
    return {"left": left.tolist()}
