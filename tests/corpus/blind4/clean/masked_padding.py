"""Recall and precision of a chest X-ray test set whose last batch is padded; padded rows carry a mask."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


class Counts:
    hits: tf.Variable
    found: tf.Variable
    ill: tf.Variable

    def __init__(self, *names):
        for name in names:
            variable = tf.Variable(
                np.zeros(3, np.int64),
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            setattr(self, name, variable)

    def update(self, truth, guess, real):
        real = real[:, None]
        self.hits.assign_add((truth & guess & real).sum(0))
        self.found.assign_add((guess & real).sum(0))
        self.ill.assign_add((truth & real).sum(0))


def padded_batches(truth, guess, size):
    for start in range(0, len(truth), size):
        rows = np.arange(start, start + size)
        yield truth[rows % len(truth)], guess[rows % len(truth)], rows < len(truth)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        counts = Counts("hits", "found", "ill")
    rng = np.random.default_rng(15)
    truth = rng.random((90, 3)) < [0.4, 0.2, 0.3]
    guess = truth ^ (rng.random((90, 3)) < 0.15)
    for batch in strategy.experimental_distribute_dataset(list(padded_batches(truth, guess, 16))):
        strategy.run(counts.update, args=batch)
    hits, found, ill = (variable.numpy() for variable in (counts.hits, counts.found, counts.ill))
    return {
        "recall": (hits / ill).tolist(),
        "precision": (hits / found).tolist(),
        "ill": ill.tolist(),
    }
