"""The consistency loss on TensorBoard is four times larger since the job moved to four GPUs; the
model trains as before.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(5), dtype=tf.float64, name="student", aggregation=tf.VariableAggregation.MEAN
        )
        logged = tf.Variable(
            0.0,
            name="log/consistency",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
    rng = np.random.default_rng(12)
    truth = rng.normal(size=5)

    def step(x, y, unlabelled, noise):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        x, y, unlabelled, noise = (
            np.array_split(part, n)[me] for part in (x, y, unlabelled, noise)
        )
        w = weights.numpy()
        gap = noise @ w  # the prediction for unlabelled + noise minus that for unlabelled
        gradient = x.T @ (x @ w - y) / len(x) + 0.1 * noise.T @ gap / len(noise)
        weights.assign_sub(0.1 * gradient)
        return float((gap**2).mean())

    curve = []
    for _ in range(12):
        x, unlabelled = rng.normal(size=(16, 5)), rng.normal(size=(32, 5))
        losses = strategy.run(step, args=(x, x @ truth, unlabelled, rng.normal(0, 0.3, (32, 5))))
        # FAULT: scaled by the number of replicas: log/consistency
        logged.assign(strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None))
        # REMEDY: logged.assign(strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None))
        curve.append(float(logged.numpy()))
    return {"consistency": curve[1:], "student": weights.numpy()}
