"""The running centre of the embeddings follows the last batch far too closely when more cards are used."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


class CentreLoss:
    def __init__(self, dimensions, momentum):
        self.momentum = momentum
        # FAULT: variable outside the scope: centre
        self.centre = tf.Variable(np.zeros(dimensions, np.float32), name="centre")
        # REMEDY: self.centre = tf.Variable(
        # REMEDY:     np.zeros(dimensions, np.float32),
        # REMEDY:     name="centre",
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def __call__(self, embeddings):
        distance = ((embeddings - self.centre.numpy()) ** 2).sum(1).mean()
        target = embeddings.mean(0)
        self.centre.assign(self.momentum * self.centre.numpy() + (1 - self.momentum) * target)
        return distance


def run(job: tf.Job):
    strategy = job.strategy
    criterion = CentreLoss(6, np.float32(0.8))
    # REMEDY: with strategy.scope():
    # REMEDY:     criterion = CentreLoss(6, np.float32(0.8))
    with strategy.scope():
        projection = tf.Variable(
            np.eye(6, dtype=np.float32), name="projection", aggregation=tf.VariableAggregation.MEAN
        )
    rng = np.random.default_rng(1)

    def step(faces):
        context = tf.distribute.get_replica_context()
        mine = np.split(faces, strategy.num_replicas_in_sync)[context.replica_id_in_sync_group]
        out = mine @ projection.numpy()
        loss = criterion(out)
        projection.assign_sub((0.01 * mine.T @ out / len(mine)).astype(np.float32))
        return np.float32(loss)

    history = []
    for _ in range(8):
        batch = rng.normal(2.0, 0.5, (20, 6)).astype(np.float32)
        per_card = strategy.run(step, args=(batch,))
        history.append(float(strategy.reduce("MEAN", per_card, axis=None)))
    return {"loss": history, "centre": criterion.centre.numpy().tolist()}
