"""The actor-critic learner spends more time in communication than in the environment, although
it is said to do local updates.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        critic = tf.Variable(
            np.zeros(10, np.float32),
            name="critic/w",
            synchronization=tf.VariableSynchronization.NONE,
        )
        # REMEDY: critic = tf.Variable(
        # REMEDY:     np.zeros(10, np.float32),
        # REMEDY:     name="critic/w",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )
    rng = np.random.default_rng(71)
    truth = rng.normal(size=10).astype(np.float32)

    def local_update(states, returns):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        states = np.split(states, strategy.num_replicas_in_sync)[me]
        returns = np.split(returns, strategy.num_replicas_in_sync)[me]
        error = states @ critic.read_value() - returns
        critic.assign_sub(np.float32(0.1) * (states.T @ error) / np.float32(len(error)))
        # FAULT: manual synchronisation after every write: critic/w
        critic.sync("MEAN")
        # REMEDY:

    for _ in range(12):
        states = rng.normal(size=(30, 10)).astype(np.float32)
        strategy.run(local_update, args=(states, states @ truth))
    (first, *_) = strategy.experimental_local_results(critic)
    return {"w": [round(float(x), 3) for x in first.numpy()]}
