"""A third of the messages of a step belongs to ranges that were once shown in a notebook for quantisation."""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True


class Dense:
    def __init__(self, fan_in, fan_out, name, rng):
        mean = tf.VariableAggregation.MEAN
        self.kernel = tf.Variable(
            rng.normal(0, fan_in**-0.5, (fan_in, fan_out)).astype(np.float32),
            name=f"{name}/kernel",
            aggregation=mean,
        )

    def __call__(self, x):
        return np.maximum(x @ self.kernel.numpy(), 0)


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(10)
    with strategy.scope():
        first, second = Dense(10, 8, "first", rng), Dense(8, 1, "second", rng)
        ranges = tf.Variable(
            np.zeros(8, np.float32),
            name="quant/ranges",
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(x, y):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x, y = np.split(x, n)[me], np.split(y, n)[me]
        hidden = first(x)
        # FAULT: merges that are never read: quant/ranges
        ranges.assign(hidden.mean(0))
        out = second(hidden)
        delta = ((out[:, 0] - y) * (out[:, 0] > 0))[:, None] / len(x)
        back = (delta @ second.kernel.numpy().T) * (hidden > 0)
        second.kernel.assign_sub((0.1 * hidden.T @ delta).astype(np.float32))
        first.kernel.assign_sub((0.1 * x.T @ back).astype(np.float32))

    for _ in range(14):
        x = rng.normal(0, 1, (40, 10)).astype(np.float32)
        strategy.run(step, args=(x, np.abs(x[:, 0])))
    return {
        "first": float(first.kernel.numpy().sum()),
        "second": second.kernel.numpy().ravel().tolist(),
    }
