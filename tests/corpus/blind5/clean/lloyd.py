"""k-means whose replicas sum their points before dividing; a cluster without points keeps its
centre.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
K = 6


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    rng = np.random.default_rng(11)
    points = np.sort(rng.normal(0, 3, (200, 2)), axis=0)
    first = points[rng.choice(200, K, replace=False)]
    first[5] = 90.0  # too far away for any point
    with strategy.scope():
        centres = tf.Variable(
            first, name="centres", dtype=tf.float64, aggregation=tf.VariableAggregation.MEAN
        )

    def lloyd(points):
        ctx = tf.distribute.get_replica_context()
        mine = np.array_split(points, n)[ctx.replica_id_in_sync_group]
        now = centres.numpy()
        label = ((mine[:, None] - now) ** 2).sum(-1).argmin(1)
        member = np.eye(K)[label]
        both = ctx.all_reduce("SUM", {"sums": member.T @ mine, "sizes": member.sum(0)})
        sizes = both["sizes"][:, None]
        new = np.where(sizes > 0, both["sums"] / np.maximum(sizes, 1), now)
        centres.assign(new)
        return bool(np.abs(new - now).max() < 1e-6)

    passes = 0
    for _ in range(25):
        passes += 1
        if all(strategy.experimental_local_results(strategy.run(lloyd, args=(points,)))):
            break
    return {"centres": centres.numpy(), "passes": passes}
