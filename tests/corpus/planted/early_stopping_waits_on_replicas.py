"""Replicas tell the program's object their losses. On processes, it never hears of them."""

import numpy as np

import varsim as tf

REPLICAS = 2


class Stopper:
    def __init__(self):
        self.best = 9.0
        self.losses = []
        self.waited = 0

    def look(self, loss):
        # FAULT: object changed on a replica:
        self.losses.append(loss)
        # REMEDY:
        if loss < self.best:
            # ALSO: object changed on a replica:
            self.best = loss
            # REMEDY: return
        else:
            # ALSO: object changed on a replica:
            self.waited += 1
            # REMEDY: return

    def done(self):
        return len(self.losses) > 50 or self.waited > 50


def run(job: tf.Job):
    strategy = job.strategy
    stopper = Stopper()

    def train(losses):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        stopper.look(float(losses[me]))

    for losses in np.random.default_rng(2).random((5, REPLICAS)):
        strategy.run(train, args=(losses,))
        if stopper.done():
            break
