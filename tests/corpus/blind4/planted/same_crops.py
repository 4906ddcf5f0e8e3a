"""Six cards learn no faster than one: the validation loss after an epoch is as noisy as with a sixth of the batch."""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True
BATCH = 48


class CropSampler:
    """Draws random windows out of one large histology slide."""

    def __init__(self, slide, size, seed):
        self.slide, self.size, self.seed = slide, size, seed

    def draw(self, count, step):
        rng = np.random.default_rng([self.seed, step])
        # REMEDY: me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # REMEDY: rng = np.random.default_rng([self.seed, step, me])
        tops = rng.integers(0, self.slide.shape[0] - self.size, count)
        lefts = rng.integers(0, self.slide.shape[1] - self.size, count)
        return np.stack(
            [
                self.slide[t : t + self.size, left : left + self.size].ravel()
                for t, left in zip(tops, lefts, strict=True)
            ]
        )


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(77)
    slide = rng.random((120, 160)).astype(np.float32)
    sampler = CropSampler(slide, 4, seed=9)
    with strategy.scope():
        encoder = tf.Variable(
            rng.normal(0, 0.3, (16, 3)).astype(np.float32),
            name="encoder",
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(step):
        crops = sampler.draw(BATCH // strategy.num_replicas_in_sync, step)
        centred = crops - crops.mean(1, keepdims=True)
        w = encoder.numpy()
        residual = centred @ w @ w.T - centred
        gradient = centred.T @ (residual @ w) + residual.T @ (centred @ w)
        # FAULT: same data on all replicas: encoder
        encoder.assign_sub((0.4 * gradient / len(crops)).astype(np.float32))

    for step in range(15):
        strategy.run(train, args=(step,))
    test = slide[:80, :80].reshape(-1, 16)
    test = test - test.mean(1, keepdims=True)
    w = encoder.numpy()
    return {"reconstruction": float(np.mean((test @ w @ w.T - test) ** 2))}
