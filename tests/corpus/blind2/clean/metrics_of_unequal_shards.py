"""Are my loss and accuracy right if the workers' shards differ in size?"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
BATCH = 24


def run(job: tf.Job):
    strategy = job.strategy
    shares = np.arange(strategy.num_replicas_in_sync + 1).cumsum()
    cuts = BATCH * shares // shares[-1]
    with strategy.scope():
        correct = tf.Variable(
            0.0,
            name="correct",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        seen = tf.Variable(
            0.0,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(hits):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = hits[cuts[me] : cuts[me + 1]]
        correct.assign_add(float(mine.sum()))
        seen.assign_add(float(len(mine)))

    random = np.random.default_rng(23)
    for _ in range(10):
        strategy.run(
            step, args=((random.random(BATCH) < np.linspace(0.3, 0.95, BATCH)).astype(np.float32),)
        )
    return {"accuracy": float(correct.read_value()) / float(seen.read_value())}
