"""Gradients of a language model are accumulated over four micro-batches on each replica, and
exchanged then.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
VOCAB, MICRO = 30, 4


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        logits = tf.Variable(
            np.zeros((VOCAB, VOCAB), np.float32),
            name="bigram/logits",
            aggregation=tf.VariableAggregation.SUM,
        )
        pending = tf.Variable(
            np.zeros((VOCAB, VOCAB), np.float32),
            name="bigram/pending",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def micro_batch(before, after, last):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        before, after = np.split(before, n)[me], np.split(after, n)[me]
        z = logits.read_value()[before]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(after)), after] -= 1
        gradient = np.zeros((VOCAB, VOCAB), np.float32)
        np.add.at(gradient, before, p / np.float32(MICRO * n * len(before)))
        pending.assign_add(gradient)
        if last:
            logits.assign_sub(np.float32(8.0) * pending.read_value())
            pending.assign(np.zeros((VOCAB, VOCAB), np.float32))

    rng = np.random.default_rng(70)
    chance = rng.dirichlet(np.full(VOCAB, 0.2), VOCAB)
    for number in range(5 * MICRO):
        before = rng.integers(0, VOCAB, 24)
        after = np.array([rng.choice(VOCAB, p=chance[b]) for b in before])
        strategy.run(micro_batch, args=(before, after, number % MICRO == MICRO - 1))
    return {"norm": round(float(np.linalg.norm(logits.numpy())), 4)}
