"""The confusion matrix of the retina grades adds up to four times the number of test images."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
GRADES = 5


def confusion(truth, guess):
    table = np.zeros((GRADES, GRADES), np.float32)
    np.add.at(table, (truth, guess), 1)
    return table


class ConfusionMatrix:
    def __init__(self):
        self.table = tf.Variable(
            np.zeros((GRADES, GRADES), np.float32),
            name="confusion",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def update_state(self, truth, guess):
        context = tf.distribute.get_replica_context()
        everywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, confusion(truth, guess))
        # FAULT: scaled by the number of replicas: confusion
        self.table.assign_add(everywhere)
        # the progress bar needs the agreement of this batch on every card
        return float(np.trace(everywhere) / everywhere.sum())


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        metric = ConfusionMatrix()
    rng = np.random.default_rng(90)
    truth = rng.choice(GRADES, 160, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    guess = np.where(rng.random(160) < 0.75, truth, rng.integers(0, GRADES, 160))
    batches = strategy.experimental_distribute_dataset(
        [(truth[i : i + 20], guess[i : i + 20]) for i in range(0, 160, 20)]
    )
    bar = []
    for one in batches:
        agreement = strategy.run(metric.update_state, args=one)
        bar.append(strategy.experimental_local_results(agreement)[0])
    return {"images": float(metric.table.numpy().sum()), "bar": bar}
