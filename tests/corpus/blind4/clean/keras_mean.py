"""The accuracy and the loss of each epoch, with metrics like those of Keras."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


class Mean:
    def __init__(self, name):
        self.total, self.count = (
            tf.Variable(
                0.0,
                name=f"{name}/{part}",
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for part in ("total", "count")
        )

    def update_state(self, value):
        self.total.assign_add(float(value))
        self.count.assign_add(1.0)

    def result(self):
        return float(self.total.numpy()) / max(float(self.count.numpy()), 1.0)

    def reset_state(self):
        self.total.assign(0.0)
        self.count.assign(0.0)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(np.zeros(9, np.float32), name="w", aggregation=tf.VariableAggregation.MEAN)
        loss, accuracy = Mean("loss"), Mean("accuracy")
    rng = np.random.default_rng(41)
    truth = rng.normal(0, 1, 9)

    def train_step(batch):
        x, y = batch
        p = 1 / (1 + np.exp(-x @ w.numpy()))
        w.assign_add((x.T @ (y - p) / len(x)).astype(np.float32))
        loss.update_state(-np.mean(np.log(np.where(y == 1, p, 1 - p))))
        accuracy.update_state(np.mean((p > 0.5) == (y == 1)))

    log = []
    for _ in range(3):
        data = []
        for _ in range(4):
            x = rng.normal(0, 1, (32, 9)).astype(np.float32)
            data.append((x, (x @ truth > 0).astype(np.float32)))
        for batch in strategy.experimental_distribute_dataset(data):
            strategy.run(train_step, args=(batch,))
        log.append((round(loss.result(), 4), round(accuracy.result(), 4)))
        for metric in (loss, accuracy):
            metric.reset_state()
    return {"log": log}
