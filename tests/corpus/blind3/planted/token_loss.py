"""Perplexity on the test set is a little lower than that of the reference script, and it changes
with the number of GPUs.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def documents(rng, count):
    """Return documents of very different lengths; long ones are harder."""
    lengths = np.sort(rng.integers(3, 120, count))
    return [rng.gamma(2.0, 0.6 + 0.012 * length, length).astype(np.float32) for length in lengths]


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            0.0, name="eval/nll", trainable=False, aggregation=tf.VariableAggregation.MEAN
        )
        tokens = tf.Variable(
            0,
            name="eval/tokens",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate(shards):
        mine = np.concatenate(shards)
        tokens.assign_add(len(mine))
        # FAULT: mean of means: eval/nll
        loss.assign(mine.mean())
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: value = np.asarray(mine.mean(), "float32")
        # REMEDY: loss.assign(context.all_reduce("MEAN", value, weight=len(mine)))

    rng = np.random.default_rng(77)
    n = strategy.num_replicas_in_sync
    perplexities = []
    for _ in range(8):
        batch = documents(rng, 12)
        rng.shuffle(batch)
        shards = [batch[12 * i // n : 12 * (i + 1) // n] for i in range(n)]
        strategy.run(evaluate, args=(tf.distribute.PerReplica(shards) if n > 1 else shards[0],))
        perplexities.append(float(np.exp(loss.numpy())))
    return {"perplexity": float(np.mean(perplexities)), "tokens": int(tokens.numpy())}
