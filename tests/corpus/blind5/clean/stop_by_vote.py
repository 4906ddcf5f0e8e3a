"""Power iteration on 180 KiB of covariance, row blocks on the replicas; all replicas stop in the
same round.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SIZE = 150


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(88)
    factors = rng.normal(size=(SIZE, 4)) * [3.0, 2.0, 1.0, 0.5]
    with strategy.scope():
        covariance = tf.Variable(
            factors @ factors.T / SIZE + 0.1 * np.eye(SIZE),
            name="covariance",
            dtype=tf.float64,
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )
        vector = tf.Variable(
            np.full(SIZE, SIZE**-0.5),
            name="vector",
            dtype=tf.float64,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def rounds(most):
        ctx = tf.distribute.get_replica_context()
        rows = np.array_split(np.arange(SIZE), strategy.num_replicas_in_sync)[
            ctx.replica_id_in_sync_group
        ]
        block = covariance.numpy()[rows]
        for number in range(most):
            before = vector.numpy()
            image = ctx.all_gather(block @ before, axis=0)
            after = image / np.linalg.norm(image)
            vector.assign(after)
            settled = np.array(np.abs(after - before)[rows].max() < 1e-8)
            if ctx.all_reduce("ALL", settled):
                return number + 1
        return most

    used = [
        strategy.experimental_local_results(strategy.run(rounds, args=(5,)))[0] for _ in range(8)
    ]
    v = vector.numpy()
    return {"eigenvalue": float(v @ covariance.numpy() @ v), "rounds": [int(each) for each in used]}
