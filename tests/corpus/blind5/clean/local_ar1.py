"""Local SGD for an AR(1) model: each replica fits its own stretch of the series, and every sixth
step they are averaged.
"""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(41)
    x = np.zeros(901)
    for t in range(900):
        x[t + 1] = 0.7 * x[t] + 0.5 + rng.normal(0, 0.4)
    with strategy.scope():
        model = tf.Variable(
            np.zeros(2),
            name="ar1",
            dtype=tf.float64,
            synchronization=tf.VariableSynchronization.NONE,
        )

    def step(number, series):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        past, now = (
            np.array_split(part, strategy.num_replicas_in_sync)[me]
            for part in (series[:-1], series[1:])
        )
        phi, c = model.numpy()
        error = phi * past + c - now
        model.assign_sub(0.15 * np.array([(error * past).mean(), error.mean()]))
        if number % 6 == 5:
            model.sync("MEAN")

    for number in range(60):
        strategy.run(step, args=(number, x))
    phi, c = strategy.experimental_local_results(model)[0].numpy()
    return {
        "phi": float(phi),
        "c": float(c),
        "good": bool(abs(phi - 0.7) < 0.05 and abs(c - 0.5) < 0.15),
    }
