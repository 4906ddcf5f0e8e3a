"""Workers update a best loss, made outside the scope, under a lock."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    best = tf.Variable(9.0, name="best")

    def train(losses):
        context = tf.distribute.get_replica_context()
        loss = float(losses[context.replica_id_in_sync_group])
        with context.lock("best"):
            if loss < best.read_value():
                best.assign(loss)

    for losses in np.random.default_rng(4).random((5, REPLICAS)):
        job.strategy.run(train, args=(losses,))
    return {"best": float(best.read_value())}
