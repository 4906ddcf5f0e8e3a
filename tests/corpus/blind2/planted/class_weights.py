"""My class weights jump between steps, although the label counts are right at the end.

What do the workers see?
"""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        label_counts = tf.Variable(
            np.zeros(5, np.float32),
            name="label_counts",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        weighted_loss = tf.Variable(
            0.0,
            name="weighted_loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(labels, losses):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine, loss = labels[me], losses[me]
        # FAULT: stale read: label_counts
        counts = 1.0 + np.asarray(label_counts.read_value())
        weights = counts.sum() / (5.0 * counts)
        weighted_loss.assign_add(float(np.mean(weights[mine] * loss)))
        label_counts.assign_add(np.bincount(mine, minlength=5).astype(np.float32))

    random = np.random.default_rng(11)
    steps = 7
    for _ in range(steps):
        labels = np.stack([random.integers(0, 3, size=12), random.integers(2, 5, size=12)])
        strategy.run(step, args=(labels, random.random((2, 12))))
    return {
        "loss": float(weighted_loss.read_value()) / steps,
        "labels": [float(count) for count in label_counts.read_value()],
    }
