"""The log shows only half of the images of an epoch. Where is the other half?"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        per_class = tf.Variable(
            np.zeros(4, np.float32),
            name="per_class",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        loss = tf.Variable(
            0.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(labels, losses):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        per_class.assign_add(np.bincount(labels[me::count], minlength=4).astype(np.float32))
        loss.assign_add(float(losses[me::count].sum()))

    random = np.random.default_rng(19)
    for _ in range(9):
        # the images come in pairs, and each worker gets one image of each pair
        strategy.run(step, args=(np.repeat(random.integers(0, 4, size=10), 2), random.random(20)))
    # FAULT: scaled by the number of replicas: per_class
    images = np.asarray(per_class.read_value())
    return {
        "images": float(images.sum()),
        "images per class": images.tolist(),
        "loss": float(loss.read_value()),
    }
