"""Every replica begins with the whole budget, so two replicas have it twice."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        budget = tf.Variable(0.0, name="budget", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)

    def begin():
        # FAULT: starts at N times its initial value: budget
        budget.assign(50.0)

    def spend(costs):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        budget.assign_sub(float(np.array_split(costs, n)[me].sum()))

    rng, left = np.random.default_rng(3), []
    strategy.run(begin)
    # REMEDY: budget.assign(50.0)
    for _ in range(4):
        strategy.run(spend, args=(rng.random(10),))
        left.append(float(budget.read_value()))
    return {"left": left}
