"""The warm-up works on the first card only; the weights move less than with one card."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


class NoamSchedule:
    def __init__(self, warmup):
        self.warmup = warmup
        self.rate = tf.Variable(0.01, name="learning_rate", trainable=False)

    def __call__(self, step):
        step = step + 1
        return 0.6 * min(step**-0.5, step * self.warmup**-1.5)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        schedule = NoamSchedule(5)
        w = tf.Variable(
            np.zeros(12, np.float32), name="attention/w", aggregation=tf.VariableAggregation.MEAN
        )
    rng = np.random.default_rng(21)
    truth = rng.normal(0, 1, 12).astype(np.float32)

    def train(step, x):
        context = tf.distribute.get_replica_context()
        n, me = strategy.num_replicas_in_sync, context.replica_id_in_sync_group
        if me == 0:
            schedule.rate.assign(schedule(step))
        # REMEDY:
        mine = np.split(x, n)[me]
        gradient = mine.T @ (mine @ w.numpy() - mine @ truth) / len(mine)
        # FAULT: read-write conflict: learning_rate
        rate = float(schedule.rate.read_value())
        w.assign_sub((rate * gradient).astype(np.float32))

    distances = []
    for step in range(10):
        strategy.run(train, args=(step, rng.normal(0, 1, (24, 12)).astype(np.float32)))
        # REMEDY: schedule.rate.assign(schedule(step))
        # REMEDY: strategy.run(train, args=(step, rng.normal(0, 1, (24, 12)).astype(np.float32)))
        distances.append(float(np.linalg.norm(w.numpy() - truth)))
    return {"distance": distances}
