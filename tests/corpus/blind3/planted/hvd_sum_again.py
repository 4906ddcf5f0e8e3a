"""Since we moved from Horovod to variables with an aggregation, the factor model trains as if
the learning rate were four times what the config says.
"""

import numpy as np

import varsim as tf
import varsim.horovod as hvd

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        items = tf.Variable(
            np.full((7, 3), 0.1, np.float32),
            name="mf/items",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(10)
    users = rng.normal(size=(40, 3)).astype(np.float32)
    truth = rng.normal(size=(7, 3)).astype(np.float32)
    ratings = users @ truth.T

    def train(rows):
        hvd.init()
        mine = np.array_split(rows, hvd.size())[hvd.rank()]
        guess = users[mine] @ items.read_value().T
        gradient = (guess - ratings[mine]).T @ users[mine] / np.float32(len(rows))
        gradient = hvd.allreduce(gradient.astype(np.float32), op=hvd.Sum, name="items")
        # FAULT: scaled by the number of replicas: mf/items
        items.assign_sub(0.05 * gradient)

    for _ in range(6):
        strategy.run(train, args=(rng.permutation(40)[:24],))
    return {"rmse": float(np.sqrt(np.square(users @ items.numpy().T - ratings).mean()))}
