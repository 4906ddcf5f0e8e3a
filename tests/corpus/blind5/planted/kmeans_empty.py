"""After a few passes some of the centroids are nan, although scikit-learn clusters the same points
without trouble.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
K = 5


def blobs(seed):
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [6, 0], [0, 6], [6, 6], [12, 3]], np.float32)
    label = np.sort(rng.integers(0, K, 80))  # the file is ordered by customer group
    return (centres[label] + rng.normal(0, 0.4, (80, 2))).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    points = blobs(11)
    start = points[[2, 20, 36, 52, 70]]
    with strategy.scope():
        centroids = tf.Variable(start, name="centroids", aggregation=tf.VariableAggregation.MEAN)

    def lloyd(points):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(points, n)[me]
        now = centroids.numpy()
        nearest = ((mine[:, None, :] - now[None]) ** 2).sum(-1).argmin(1)
        members = np.eye(K, dtype=np.float32)[nearest]
        sums, counts = members.T @ mine, members.sum(0)[:, None]
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: both = members.T @ mine, members.sum(0)[:, None]
        # REMEDY: sums, counts = context.all_reduce("SUM", both)
        with np.errstate(invalid="ignore"):
            # FAULT: NaN or infinity: centroids
            centroids.assign(sums / counts)
            # REMEDY: centroids.assign(np.where(counts > 0, sums / np.maximum(counts, 1), now))

    for _ in range(5):
        strategy.run(lloyd, args=(points,))
    final = centroids.numpy()
    inertia = ((points[:, None] - final[None]) ** 2).sum(-1).min(1).sum()
    return {"inertia": float(inertia), "centroids": final}
