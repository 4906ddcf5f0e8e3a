"""The loss per token of documents of different lengths, with the number of tokens as weights."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        nll = tf.Variable(
            0.0,
            name="valid/nll",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        best = tf.Variable(
            np.inf,
            name="valid/best",
            trainable=False,
            dtype=tf.float32,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def validate(texts):
        context = tf.distribute.get_replica_context()
        mine = texts[context.replica_id_in_sync_group :: strategy.num_replicas_in_sync]
        tokens = np.concatenate(mine)
        loss = context.all_reduce("MEAN", tokens.mean(), weight=len(tokens))
        # ALSO: merges that are never read: valid/nll
        nll.assign(loss)
        best.assign(np.minimum(best.read_value(), loss))

    rng = np.random.default_rng(11)
    for epoch in range(7):
        lengths = rng.integers(2, 90, 13)
        texts = [
            rng.gamma(3, 1 + length / 60 - epoch / 20, length).astype(np.float32)
            for length in lengths
        ]
        strategy.run(validate, args=(texts,))
    return {"nll": float(nll.numpy()), "best": float(best.numpy())}
