"""Mean and standard deviation for normalising features, from streamed moments; equal to numpy's on
the whole stream.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class Moments:
    def __init__(self, width):
        how = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.SUM,
            "dtype": tf.float64,
        }
        self.count = tf.Variable(0.0, name="moments/count", **how)
        self.total = tf.Variable(np.zeros(width), name="moments/total", **how)
        self.squares = tf.Variable(np.zeros(width), name="moments/squares", **how)

    def update(self, rows):
        self.count.assign_add(float(len(rows)))
        self.total.assign_add(rows.sum(0))
        self.squares.assign_add((rows**2).sum(0))

    def result(self):
        count = self.count.numpy()
        mean = self.total.numpy() / count
        return mean, np.sqrt(self.squares.numpy() / count - mean**2)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        moments = Moments(4)
    rng = np.random.default_rng(14)

    def step(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        moments.update(np.array_split(batch, strategy.num_replicas_in_sync)[me])

    everything = []
    for size in (40, 37, 52, 11, 64):
        everything.append(rng.normal([1, 5, -2, 0], [1, 2, 0.5, 3], (size, 4)))
        strategy.run(step, args=(everything[-1],))
    mean, std = moments.result()
    rows = np.concatenate(everything)
    return {"mean": mean, "std": std, "error": bool(np.abs(std - rows.std(0)).max() > 1e-9)}
