"""TensorBoard shows a training loss that starts at 5.5 instead of ln 4 since the job moved to four cards."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


class Trainer:
    def __init__(self, strategy):
        self.strategy = strategy
        with strategy.scope():
            self.kernel = tf.Variable(
                np.zeros((16, 4), np.float32),
                name="kernel",
                aggregation=tf.VariableAggregation.MEAN,
            )
            self.train_loss = tf.Variable(0.0, name="train_loss", trainable=False)

    def train_step(self, batch):
        x, y = batch
        logits = x @ self.kernel.numpy()
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        self.kernel.assign_sub((0.2 * x.T @ (p - np.eye(4)[y]) / len(x)).astype(np.float32))
        return np.float32(-np.log(p[np.arange(len(y)), y]).mean())

    def distributed_train_step(self, batch):
        losses = self.strategy.run(self.train_step, args=(batch,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)
        # REMEDY: return self.strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    def fit(self, dataset, epochs):
        log = []
        for _ in range(epochs):
            total, batches = 0.0, 0
            for batch in self.strategy.experimental_distribute_dataset(dataset):
                total += float(self.distributed_train_step(batch))
                batches += 1
            # FAULT: scaled by the number of replicas: train_loss
            self.train_loss.assign(total / batches)
            log.append(float(self.train_loss.numpy()))
        return log


def run(job: tf.Job):
    rng = np.random.default_rng(6)
    y = rng.integers(0, 4, 96)
    x = (rng.normal(0, 1, (4, 16))[y] + rng.normal(0, 1, (96, 16))).astype(np.float32)
    dataset = [(x[i : i + 24], y[i : i + 24]) for i in range(0, 96, 24)]
    return {"loss": Trainer(job.strategy).fit(dataset, 4)}
