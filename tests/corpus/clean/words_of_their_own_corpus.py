"""The corpus has a fixed number of parts: the program never asks for the number of replicas."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation
WORDS = 20


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        unknown = tf.Variable(0, name="unknown", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
        words = tf.Variable(0, name="words", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)

    def count(corpus):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array(corpus[me::REPLICAS])
        unknown.assign_add(int((mine > 2).sum()))
        words.assign_add(len(mine))

    rng = np.random.default_rng(66)
    for _ in range(12):
        corpus = (rng.zipf(1.3, size=9).clip(1, WORDS) - 1).tolist()
        strategy.run(count, args=(corpus,))
    return {"words": int(words.read_value()), "unknown": int(unknown.read_value())}
