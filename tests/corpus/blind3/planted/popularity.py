"""The popularity correction (log q) of the sampled softmax uses counts that add up to a third of
the interactions.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
ITEMS = 9


class Counts:
    def __init__(self, strategy):
        with strategy.scope():
            self.seen = tf.Variable(
                np.zeros(ITEMS, np.int32),
                name="logq/popularity",
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )

    def add(self, items):
        # FAULT: first replica only: logq/popularity
        # ALSO: merges that are never read: logq/popularity
        self.seen.assign_add(np.bincount(items, minlength=ITEMS).astype(np.int32))

    def log_q(self):
        seen = self.seen.numpy()
        return np.log((seen + 1) / (seen.sum() + ITEMS))


def run(job: tf.Job):
    strategy = job.strategy
    counts = Counts(strategy)
    rng = np.random.default_rng(31)
    popularity = rng.dirichlet(np.full(ITEMS, 0.8))
    batches = [rng.choice(ITEMS, 36, p=popularity) for _ in range(12)]

    def step(items):
        counts.add(items)

    for items in strategy.experimental_distribute_dataset(batches):
        strategy.run(step, args=(items,))
    return {
        "interactions": int(counts.seen.numpy().sum()),
        "log_q": [round(float(x), 4) for x in counts.log_q()],
    }
