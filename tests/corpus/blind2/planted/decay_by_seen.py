"""With four workers my learning rate falls much more slowly than I computed. Why?"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        examples = tf.Variable(
            0.0,
            name="examples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        slope = tf.Variable(
            0.0,
            name="slope",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(x, y):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: stale read: examples
        rate = 0.5 / (1.0 + 0.05 * float(examples.read_value()))
        mine_x, mine_y = x[me::4], y[me::4]
        error = float(slope.read_value()) * mine_x - mine_y
        slope.assign_sub(rate * float(np.mean(error * mine_x)))
        examples.assign_add(float(len(mine_x)))

    random = np.random.default_rng(3)
    for _ in range(8):
        x = random.normal(size=16).astype(np.float32)
        strategy.run(step, args=(x, 3.0 * x))
    return {"slope": float(slope.read_value()), "examples": float(examples.read_value())}
