"""Every step of the language model sends twice as many bytes as the model has, which we see on
the network monitor.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
VOCAB, DIM = 200, 160


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(55)
    with strategy.scope():
        embedding = tf.Variable(
            rng.normal(0, 0.1, (VOCAB, DIM)).astype(np.float32),
            name="lm/embedding",
            aggregation=tf.VariableAggregation.MEAN,
        )
        last = tf.Variable(
            np.zeros((VOCAB, DIM), np.float32),
            name="debug/last_gradient",
            trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(words, targets):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        words = np.split(words, strategy.num_replicas_in_sync)[me]
        targets = np.split(targets, strategy.num_replicas_in_sync)[me]
        table = embedding.read_value()
        gradient = np.zeros_like(table)
        np.add.at(gradient, words, (table[words] - targets) / np.float32(len(words)))
        # FAULT: merges that are never read: debug/last_gradient
        last.assign(gradient)
        embedding.assign_sub(np.float32(0.5) * gradient)

    for _ in range(6):
        words = rng.integers(0, VOCAB, 32)
        strategy.run(step, args=(words, rng.normal(size=(32, DIM)).astype(np.float32)))
    return {"norm": round(float(np.linalg.norm(embedding.numpy())), 4)}
