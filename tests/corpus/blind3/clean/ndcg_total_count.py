"""NDCG of a ranking model, kept as Keras' Mean does: a total and a count, of which only the
quotient is shown.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class Mean:
    def __init__(self, name):
        settings = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.SUM,
            "trainable": False,
        }
        self.total = tf.Variable(0.0, name=f"{name}/total", **settings)
        self.count = tf.Variable(0.0, name=f"{name}/count", **settings)

    def update_state(self, values):
        self.total.assign_add(np.float32(values.sum()))
        self.count.assign_add(float(len(values)))

    def result(self):
        return float(self.total.read_value()) / float(self.count.read_value())

    def reset_state(self):
        self.total.assign(0.0)
        self.count.assign(0.0)


def ndcg(scores, gains):
    discount = 1 / np.log2(np.arange(scores.shape[1]) + 2)
    got = np.take_along_axis(gains, np.argsort(-scores, axis=1), axis=1) @ discount
    return (got / (-np.sort(-gains, axis=1) @ discount)).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        metric = Mean("ndcg")
    rng = np.random.default_rng(1)

    def test_step(scores, gains):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        metric.update_state(
            ndcg(
                np.array_split(scores, strategy.num_replicas_in_sync)[me],
                np.array_split(gains, strategy.num_replicas_in_sync)[me],
            )
        )

    shown = []
    for epoch in range(3):
        metric.reset_state()
        for size in (20, 20, 7):
            gains = rng.integers(0, 4, (size, 10)) + 0.1
            strategy.run(test_step, args=(gains + rng.normal(0, 3 - epoch, gains.shape), gains))
        shown.append(round(metric.result(), 5))
    return {"ndcg": shown}
