"""Evolution strategies: each worker draws its own perturbations, and all add the weighted mean
of them to the policy.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
PAIRS, SIGMA = 6, 0.1


def fitness(theta):
    return -np.square(theta - np.array([0.5, -0.3, 0.8, 0.0])).sum(axis=-1)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        theta = tf.Variable(
            np.zeros(4, np.float32), name="es/theta", aggregation=tf.VariableAggregation.MEAN
        )
        evaluations = tf.Variable(
            0,
            name="es/evaluations",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def generation():
        center = theta.read_value()
        noise = np.random.normal(size=(PAIRS, 4))  # noqa: NPY002
        gain = fitness(center + SIGMA * noise) - fitness(center - SIGMA * noise)
        evaluations.assign_add(2 * PAIRS)
        theta.assign_add(
            (0.15 * (gain[:, None] * noise).mean(axis=0) / (2 * SIGMA)).astype(np.float32)
        )

    for _ in range(25):
        strategy.run(generation)
    reached = float(fitness(theta.numpy()))
    assert reached > -0.05
    return {"fitness": round(reached, 4), "evaluations": int(evaluations.numpy())}
