"""A sampler that should forget a tenth of its tile counts per epoch loses a few more tiles each time."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
TISSUES = 6


class FadingCounts:
    """How often each tissue was drawn, with exponential forgetting."""

    def __init__(self):
        self.drawn = tf.Variable(
            np.zeros(TISSUES, np.int32),
            name="drawn",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: self.drawn = tf.Variable(
        # REMEDY:     np.zeros(TISSUES, np.float32),
        # REMEDY:     name="drawn",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def add(self, tissue):
        self.drawn.assign_add(np.bincount(tissue, minlength=TISSUES).astype(np.int32))
        # REMEDY: self.drawn.assign_add(np.bincount(tissue, minlength=TISSUES).astype(np.float32))

    def fade(self):
        now = self.drawn.numpy()
        # FAULT: integer truncation: drawn
        self.drawn.assign(now - now // 10)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        counts = FadingCounts()
    rng = np.random.default_rng(23)

    def epoch(tissue):
        n = strategy.num_replicas_in_sync
        counts.add(
            np.array_split(tissue, n)[tf.distribute.get_replica_context().replica_id_in_sync_group]
        )

    totals = []
    for _ in range(6):
        for _ in range(2):
            strategy.run(
                epoch, args=(rng.choice(TISSUES, 64, p=[0.3, 0.25, 0.2, 0.15, 0.07, 0.03]),)
            )
        counts.fade()
        totals.append(int(counts.drawn.numpy().sum()))
    return {"totals": totals}
