"""The number of hits in my progress line is about a third of what evaluate() says later."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS = 6
LABELS = np.arange(STEPS * 30) % 3
GUESSES = np.arange(STEPS * 30) % 2


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate(start):
        rows = shard(np.arange(start, start + 30), n)
        hits.assign_add(int((LABELS[rows] == GUESSES[rows]).sum()))

    shown = []
    for step in range(STEPS):
        strategy.run(evaluate, args=(30 * step,))
        local = strategy.experimental_local_results(hits)
        # REMEDY:
        # FAULT: divergence: hits
        shown.append(int(local[0].numpy()))
        # REMEDY: shown.append(int(hits.read_value()))
        job.progress(step + 1, STEPS, hits=shown[-1])
    return {"shown": shown}
