"""Large volumes: each card accumulates the gradients of four micro batches before the weights change."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
MICRO = 4


class Accumulator:
    def __init__(self, variable):
        self.variable = variable
        self.sum = tf.Variable(
            np.zeros(variable.shape, np.float32),
            name="accumulated",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def add(self, gradient):
        self.sum.assign_add(gradient.astype(np.float32))

    def apply(self, rate, examples):
        self.variable.assign_sub(np.float32(rate / examples) * self.sum.numpy())
        self.sum.assign(np.zeros(self.variable.shape, np.float32))


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(np.zeros((27, 2), np.float32), name="conv3d")
        accumulator = Accumulator(w)
    rng = np.random.default_rng(36)
    truth = rng.normal(0, 1, (27, 2))

    def micro_step(cubes):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(cubes, strategy.num_replicas_in_sync)[me]
        accumulator.add(mine.T @ (mine @ w.numpy() - mine @ truth))

    errors, examples = [], 0
    for step in range(6 * MICRO):
        cubes = rng.normal(0, 1, (7, 27))
        examples += len(cubes)
        strategy.run(micro_step, args=(cubes,))
        if step % MICRO == MICRO - 1:
            accumulator.apply(0.4, examples)
            examples = 0
            errors.append(float(np.abs(w.numpy() - truth).mean()))
    return {"errors": errors}
