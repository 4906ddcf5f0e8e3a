"""The class weights of the detector stay too close to 1: the smoothing counts more than the 20 boxes that were configured."""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True
SMOOTHING = 20.0
NAMES = ("car", "bike", "person", "sign")


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        # FAULT: starts at N times its initial value: boxes_per_class
        boxes = tf.Variable(
            [SMOOTHING] * len(NAMES),
            name="boxes_per_class",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: boxes = tf.Variable(
        # REMEDY:     np.zeros((4,), "float32"),
        # REMEDY:     name="boxes_per_class",
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_READ,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )
        # REMEDY: boxes.assign([SMOOTHING] * len(NAMES))
        head = tf.Variable(
            np.zeros(len(NAMES), np.float32),
            name="head/bias",
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(labels, class_weights):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.split(labels, n)[me]
        seen = np.bincount(mine, minlength=len(NAMES)).astype(np.float32)
        boxes.assign_add(seen)
        p = np.exp(head.numpy()) / np.exp(head.numpy()).sum()
        head.assign_add((0.3 * class_weights * (seen / len(mine) - p)).astype(np.float32))

    rng = np.random.default_rng(14)
    for _ in range(6):
        counts = boxes.numpy()
        class_weights = counts.sum() / (len(NAMES) * counts)
        labels = rng.choice(len(NAMES), 40, p=[0.6, 0.05, 0.25, 0.1])
        strategy.run(step, args=(labels, class_weights.astype(np.float32)))
    return {"boxes": boxes.numpy().tolist(), "bias": head.numpy().tolist()}
