"""The validation starts from zero in each epoch, on every card, and from a smoothing that belongs to the whole."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
BINS = 16
SMOOTHING = 0.5


class AUC:
    """Like tf.keras.metrics.AUC: two histograms of scores, combined only for the result."""

    def __init__(self):
        kind = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.SUM,
        }
        self.sick = tf.Variable(np.zeros(BINS, np.float32), name="auc/sick", **kind)
        self.healthy = tf.Variable(np.zeros(BINS, np.float32), name="auc/healthy", **kind)

    def update_state(self, label, score):
        place = np.clip((score * BINS).astype(int), 0, BINS - 1)
        self.sick.assign_add(np.bincount(place[label], minlength=BINS).astype(np.float32))
        self.healthy.assign_add(np.bincount(place[~label], minlength=BINS).astype(np.float32))

    def reset_state(self):
        context = tf.distribute.get_replica_context()
        chief = context.replica_id_in_sync_group == 0
        for histogram in (
            self.sick,
            self.healthy,
        ):  # every card has its part; the smoothing is in the chief's
            histogram.assign(np.full(BINS, SMOOTHING if chief else 0.0, np.float32))

    def result(self):
        sick, healthy = self.sick.numpy(), self.healthy.numpy()
        below = np.cumsum(healthy) - healthy / 2
        return float((sick * below).sum() / (sick.sum() * healthy.sum()))


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        auc = AUC()
    rng = np.random.default_rng(66)
    results = []
    for epoch in range(4):
        strategy.run(auc.reset_state)
        label = rng.random(75) < 0.3
        score = 1 / (1 + np.exp(-(1 + epoch) * (label - 0.5) - rng.normal(0, 1, 75)))
        data = [(label[i : i + 25], score[i : i + 25]) for i in range(0, 75, 25)]
        for batch in strategy.experimental_distribute_dataset(data):
            strategy.run(auc.update_state, args=batch)
        results.append(auc.result())
    return {"auc": results}
