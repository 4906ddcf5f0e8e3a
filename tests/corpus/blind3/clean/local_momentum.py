"""Each replica keeps the momentum of its own gradients, and the weights take the mean of the
updates, as the config wants.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class Momentum:
    def __init__(self, weights, rate=0.05, beta=0.8):
        self.weights, self.rate, self.beta = weights, np.float32(rate), np.float32(beta)
        self.slot = tf.Variable(
            np.zeros(weights.shape, np.float32),
            name=f"{weights.name}/momentum",
            trainable=False,
            synchronization=tf.VariableSynchronization.NONE,
        )

    def apply(self, gradient):
        self.slot.assign(self.beta * self.slot.read_value() + gradient)
        self.weights.assign_sub(self.rate * self.slot.read_value())


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        q = tf.Variable(
            np.zeros((3, 2), np.float32), name="q_values", aggregation=tf.VariableAggregation.MEAN
        )
        optimizer = Momentum(q)
    rng = np.random.default_rng(29)
    truth = rng.normal(size=(3, 2)).astype(np.float32)

    def learn(states, actions, targets):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        states, actions, targets = (
            np.split(a, strategy.num_replicas_in_sync)[me] for a in (states, actions, targets)
        )
        rows = np.arange(len(actions))
        error = np.zeros((len(actions), 2), np.float32)
        error[rows, actions] = (states @ q.read_value())[rows, actions] - targets
        optimizer.apply(states.T @ error / np.float32(len(actions)))

    for _ in range(14):
        states = rng.normal(size=(30, 3)).astype(np.float32)
        actions = rng.integers(0, 2, 30)
        strategy.run(learn, args=(states, actions, (states @ truth)[np.arange(30), actions]))
    return {"q": [round(float(x), 4) for x in q.numpy().ravel()]}
