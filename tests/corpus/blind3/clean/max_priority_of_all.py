"""The largest priority of a prioritised replay: each learner sees a part of the batch, and all
take the maximum.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        largest = tf.Variable(
            1.0, name="replay/largest", trainable=False, aggregation=tf.VariableAggregation.MEAN
        )
        value = tf.Variable(
            np.zeros(4, np.float32), name="critic/value", aggregation=tf.VariableAggregation.MEAN
        )

    def learn(states, returns):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        states, returns = np.split(states, n)[me], np.split(returns, n)[me]
        error = states @ value.read_value() - returns
        peak = context.all_reduce(tf.distribute.ReduceOp.MAX, np.abs(error).max())
        largest.assign(np.maximum(np.float32(0.9) * largest.read_value(), peak))
        value.assign_sub(np.float32(0.2) * states.T @ error / np.float32(len(error)))

    rng = np.random.default_rng(23)
    truth = np.float32([1, 0, -1, 2])
    track = []
    for _ in range(9):
        states = rng.normal(size=(40, 4)).astype(np.float32)
        returns = (states @ truth + 0.4 * rng.standard_t(4, 40)).astype(np.float32)
        strategy.run(learn, args=(states, returns))
        track.append(round(float(largest.numpy()), 4))
    return {"largest": track}
