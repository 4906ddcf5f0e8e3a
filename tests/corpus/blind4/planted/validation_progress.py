"""The progress bar of the training makes each step wait for all cards, though the number it shows changes once per epoch."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class ProgressBar:
    def __init__(self, metric):
        self.metric, self.lines = metric, []

    def on_train_batch_end(self, epoch, step):
        # FAULT: reads with nothing changed: val_correct
        self.lines.append(f"epoch {epoch} step {step} val_correct={int(self.metric.numpy())}")
        # REMEDY: if step == 0:
        # REMEDY:     self.shown = int(self.metric.numpy())
        # REMEDY: self.lines.append(f"epoch {epoch} step {step} val_correct={self.shown}")


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(np.zeros(7, np.float32), name="w", aggregation=tf.VariableAggregation.MEAN)
        correct = tf.Variable(
            0,
            name="val_correct",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    bar = ProgressBar(correct)
    rng = np.random.default_rng(17)
    truth = rng.normal(0, 1, 7).astype(np.float32)

    def shard(rows):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        return np.array_split(rows, strategy.num_replicas_in_sync)[me]

    def train_step(x):
        x = shard(x)
        p = 1 / (1 + np.exp(-x @ w.numpy()))
        w.assign_add((0.5 * x.T @ ((x @ truth > 0) - p) / len(x)).astype(np.float32))

    def test_step(x):
        x = shard(x)
        correct.assign_add(int(((x @ w.numpy() > 0) == (x @ truth > 0)).sum()))

    for epoch in range(3):
        for step in range(8):
            strategy.run(train_step, args=(rng.normal(0, 1, (12, 7)).astype(np.float32),))
            bar.on_train_batch_end(epoch, step)
        # ALSO: stale read: val_correct
        strategy.run(lambda: correct.assign(0) and None)
        strategy.run(test_step, args=(rng.normal(0, 1, (50, 7)).astype(np.float32),))
    return {"last": bar.lines[-1], "val_correct": int(correct.numpy())}
