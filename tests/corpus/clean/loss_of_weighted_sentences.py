"""The loss of sentences of different lengths is weighted by their tokens."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(0.0, name="loss", aggregation=AGG.SUM)
        tokens = tf.Variable(0, name="tokens", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
    rng = np.random.default_rng(5)

    def step(surprise, lengths):
        context = tf.distribute.get_replica_context()
        rows = slice(context.replica_id_in_sync_group, None, context.num_replicas_in_sync)
        real = np.arange(surprise.shape[1]) < lengths[rows, None]
        tokens.assign_add(int(real.sum()))
        loss.assign(float(surprise[rows][real].sum() / lengths.sum()))

    shown = []
    for _ in range(10):
        batch = rng.exponential(2.0, size=(6, 9)).astype(np.float32)
        strategy.run(step, args=(batch, rng.integers(1, 10, size=6)))
        shown.append(float(loss.read_value()))
    return {"loss": shown, "tokens": int(tokens.read_value())}
