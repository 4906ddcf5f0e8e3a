"""The eigenvalues of the PCA are three times those of numpy; the directions are the same."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
FEATURES = 6


def run(job: tf.Job):
    strategy = job.strategy
    on_write = tf.VariableSynchronization.ON_WRITE
    with strategy.scope():
        scatter = tf.Variable(
            np.zeros((FEATURES, FEATURES)),
            name="pca/scatter",
            dtype=tf.float64,
            synchronization=on_write,
            aggregation=tf.VariableAggregation.SUM,
        )
        rows = tf.Variable(
            0, name="pca/rows", synchronization=on_write, aggregation=tf.VariableAggregation.SUM
        )
    rng = np.random.default_rng(33)
    mixing = rng.normal(size=(FEATURES, FEATURES))
    mean = rng.normal(size=FEATURES)

    def partial_fit(batch):
        ctx = tf.distribute.get_replica_context()
        part = (
            np.array_split(batch, strategy.num_replicas_in_sync)[ctx.replica_id_in_sync_group]
            - mean
        )
        local = part.T @ part
        together = ctx.all_reduce(tf.distribute.ReduceOp.SUM, local)
        # FAULT: scaled by the number of replicas: pca/scatter
        # ALSO: merges that are never read: pca/scatter
        scatter.assign_add(together)
        # ALSO: merges that are never read: pca/rows
        rows.assign_add(len(part))

    for _ in range(6):
        batch = mean + rng.normal(size=(40, FEATURES)) @ mixing
        strategy.run(partial_fit, args=(batch,))
    covariance = scatter.numpy() / int(rows.numpy())
    values, vectors = np.linalg.eigh(covariance)
    return {"eigenvalues": values[::-1], "first": np.abs(vectors[:, -1]), "rows": int(rows.numpy())}
