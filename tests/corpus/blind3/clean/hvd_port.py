"""A Horovod script, ported: rank 0's initial weights and its table of rates are broadcast, and
gradients are averaged.
"""

import numpy as np

import varsim as tf
import varsim.horovod as hvd

REPLICAS = 2
ORACLE = True
PROCESSES = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(
            np.zeros(9, np.float32), name="ctr/w", synchronization=tf.VariableSynchronization.NONE
        )
        rates = tf.Variable(
            np.zeros(3, np.float32),
            name="ctr/rates",
            trainable=False,
            synchronization=tf.VariableSynchronization.NONE,
        )

    def start():
        hvd.init()
        mine = np.random.default_rng(hvd.rank()).normal(0, 0.1, 9).astype(np.float32)
        w.assign(hvd.broadcast(mine, root_rank=0, name="w"))
        rates.assign(hvd.broadcast(np.float32([0.5, 0.2, 0.1]), root_rank=0, name="rates"))

    def train(epoch, x, y):
        x, y = (np.split(a, hvd.size())[hvd.rank()] for a in (x, y))
        p = 1 / (1 + np.exp(-x @ w.read_value()))
        gradient = hvd.allreduce(
            (x.T @ (p - y) / np.float32(len(y))).astype(np.float32), name="gradient"
        )
        w.assign_sub(rates[epoch] * gradient)
        return hvd.allreduce(np.float32(np.abs(p - y).mean()), name="error")

    strategy.run(start)
    rng = np.random.default_rng(15)
    truth = rng.normal(size=9)
    errors = []
    for epoch in range(3):
        for _ in range(4):
            x = rng.normal(size=(40, 9)).astype(np.float32)
            y = (x @ truth > 0).astype(np.float32)
            out = strategy.experimental_local_results(strategy.run(train, args=(epoch, x, y)))
            errors.append(round(float(out[0]), 4))
    first = strategy.experimental_local_results(w)[0]
    return {"errors": errors, "w": [round(float(v), 4) for v in first.numpy()]}
