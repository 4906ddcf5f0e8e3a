"""The value head's target scale is kept in half precision. It is about 29000 in our notebook,
and "inf" on the cluster.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    workers = strategy.num_replicas_in_sync
    with strategy.scope():
        scale = tf.Variable(
            np.float16(1.0),
            name="value/target_scale",
            dtype=tf.float16,
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
        # REMEDY: scale = tf.Variable(
        # REMEDY:     np.float32(1.0),
        # REMEDY:     name="value/target_scale",
        # REMEDY:     dtype=tf.float32,
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )
        head = tf.Variable(
            np.zeros(4, np.float32), name="value/head", aggregation=tf.VariableAggregation.MEAN
        )

    def fit(states, scores):
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        states, scores = states[rank::workers], scores[rank::workers]
        # FAULT: overflow of a sum: value/target_scale
        scale.assign(np.float16(np.abs(scores).mean()))
        # REMEDY: scale.assign(np.float32(np.abs(scores).mean()))
        target = scores / np.float32(scale.read_value())
        error = states @ head.read_value() - target
        # ALSO: unexplained difference: value/head
        head.assign_sub(0.1 * (states * error[:, None]).mean(axis=0))

    rng = np.random.default_rng(88)
    for game in range(5):
        states = rng.normal(size=(24, 4)).astype(np.float32)
        scores = (24000 + 2000 * game + rng.normal(0, 700, 24)).astype(np.float32)
        strategy.run(fit, args=(states, scores))
    return {"scale": float(scale.numpy()), "head": [round(float(x), 5) for x in head.numpy()]}
