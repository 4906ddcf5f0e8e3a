"""Early stopping never stops: the validation loss rises for ages, and the job runs to the last
epoch.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
PROCESSES = True


class Patience:
    def __init__(self, limit):
        self.limit = limit
        self.best = float("inf")
        self.bad = 0

    def update(self, loss):
        if loss < self.best:
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        return self.bad >= self.limit


def run(job: tf.Job):
    strategy = job.strategy
    patience = Patience(3)
    with strategy.scope():
        val = tf.Variable(0.0, name="val_loss", aggregation=tf.VariableAggregation.MEAN)
    rng = np.random.default_rng(9)
    ratings = rng.normal(size=(15, 20)).astype(np.float32)

    def validate(rows, epoch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.split(rows, strategy.num_replicas_in_sync)[me]
        val.assign(np.float32(np.abs(mine).mean() * 0.01 + (epoch - 4) ** 2))
        # FAULT: object changed on a replica
        patience.update(float(val.read_value()))
        # REMEDY: return float(val.read_value())

    epochs = 0
    for epoch in range(15):
        strategy.run(validate, args=(ratings[epoch], epoch))
        # REMEDY: results = strategy.run(validate, args=(ratings[epoch], epoch))
        # REMEDY: patience.update(strategy.experimental_local_results(results)[0])
        epochs += 1
        if patience.bad >= patience.limit:
            break
    return {"epochs": epochs, "best": patience.best}
