"""Four learners learn no faster than one with a quarter of the batch: the DQN's loss curve is as
noisy as with 16 transitions.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
BATCH = 64


class Replay:
    def __init__(self, size):
        rng = np.random.default_rng(1234)
        self.states = rng.normal(size=(size, 6)).astype(np.float32)
        self.targets = (
            self.states @ np.linspace(-1, 1, 6).astype(np.float32) + rng.normal(0, 0.5, size)
        ).astype(np.float32)

    def sample(self, seed, count):
        rows = np.random.default_rng(seed).integers(0, len(self.targets), count)
        return self.states[rows], self.targets[rows]


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        q = tf.Variable(
            np.zeros(6, np.float32),
            name="q_network/kernel",
            aggregation=tf.VariableAggregation.MEAN,
        )
    replay = Replay(500)

    def learn(step):
        states, targets = replay.sample(1000 + step, BATCH // strategy.num_replicas_in_sync)
        # REMEDY: me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # REMEDY: rows = BATCH // strategy.num_replicas_in_sync
        # REMEDY: states, targets = replay.sample([1000 + step, me], rows)
        error = states @ q.read_value() - targets
        gradient = states.T @ error / np.float32(len(error))
        # FAULT: same data on all replicas: q_network/kernel
        q.assign_sub(0.08 * gradient)
        return float(np.square(error).mean())

    losses = []
    for step in range(12):
        out = strategy.experimental_local_results(strategy.run(learn, args=(step,)))
        losses.append(float(np.mean(out)))
    return {"q": q.numpy().tolist(), "loss": losses[-1]}
