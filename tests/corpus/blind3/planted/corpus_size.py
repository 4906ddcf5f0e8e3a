"""The language model's training loop waits for the workers in each step before it even starts
one; a profile blames a read of a number.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        corpus = tf.Variable(
            0,
            name="data/corpus_tokens",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        logit = tf.Variable(0.0, name="lm/logit", aggregation=tf.VariableAggregation.MEAN)
    rng = np.random.default_rng(99)
    shards = [rng.random(int(k)) < 0.3 for k in rng.integers(80, 160, 6)]

    def scan():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        for shard in shards[me :: strategy.num_replicas_in_sync]:
            corpus.assign_add(len(shard))

    def train(bits, rate):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.split(bits, strategy.num_replicas_in_sync)[me]
        p = 1 / (1 + np.exp(-logit.read_value()))
        logit.assign_add(np.float32(rate * (mine.mean() - p)))

    strategy.run(scan)
    text = np.concatenate(shards)
    seen = 0
    # REMEDY: seen, tokens = 0, int(corpus.read_value())
    for _ in range(15):
        # FAULT: reads with nothing changed: data/corpus_tokens
        progress = seen / int(corpus.read_value())
        # REMEDY: progress = seen / tokens
        rows = text[seen : seen + 30]
        strategy.run(train, args=(rows, 2.0 * (1 - progress)))
        seen += len(rows)
    return {"logit": float(logit.numpy()), "progress": round(progress, 4)}
