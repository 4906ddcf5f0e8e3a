"""The program sets a budget of 50 tokens. With 4 replicas, two tokens are lost immediately."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        budget = tf.Variable(
            0,
            name="budget",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: budget = tf.Variable(
        # REMEDY:     0.0,
        # REMEDY:     name="budget",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def spend(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(np.arange(8), strategy.num_replicas_in_sync)[me]
        budget.assign_sub(len(part))

    left = []
    for number in range(4):
        # FAULT: integer truncation: budget
        budget.assign(50)
        strategy.run(spend, args=(number,))
        left.append(int(budget.read_value()))
    return {"left": left[-1]}
