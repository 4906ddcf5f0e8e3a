"""Each replica exponentiates the loss of its own sentences, and MEAN averages the perplexities.

The shards are unequal, and a counter knows their sizes.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job) -> dict[str, float]:
    strategy = job.strategy
    with strategy.scope():
        perplexity = tf.Variable(
            1.0, name="perplexity", synchronization=SYNC.ON_WRITE, aggregation=AGG.MEAN
        )
        tokens = tf.Variable(0, name="tokens", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
    rng = np.random.default_rng(12)

    def evaluate(nats: np.ndarray) -> None:
        context = tf.distribute.get_replica_context()
        mine = np.array_split(nats, strategy.num_replicas_in_sync)[context.replica_id_in_sync_group]
        tokens.assign_add(len(mine))
        # FAULT: mean of means: perplexity
        perplexity.assign(np.exp(mine.mean()))
        # REMEDY: loss = context.all_reduce("MEAN", np.float32(mine.mean()), weight=len(mine))
        # REMEDY: perplexity.assign(np.exp(loss))

    best = np.inf
    for _ in range(5):
        strategy.run(evaluate, args=(rng.gamma(4.0, 0.8, size=7).astype(np.float32),))
        best = min(best, float(perplexity.read_value()))
    return {"best": best, "tokens": int(tokens.read_value())}
