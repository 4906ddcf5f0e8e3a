"""The word error rate printed by the recogniser is about a third of what the scoring script finds in its transcripts."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def edit_distance(a, b):
    row = np.arange(len(b) + 1)
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return int(row[-1])


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        errors = tf.Variable(
            0.0,
            name="wer/errors",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
    rng = np.random.default_rng(7)
    words = 0

    def decode(references, hypotheses):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = zip(references[me::n], hypotheses[me::n], strict=True)
        # FAULT: first replica only: wer/errors
        # ALSO: merges that are never read: wer/errors
        errors.assign_add(float(sum(edit_distance(r, h) for r, h in mine)))

    for _ in range(12):
        references = [rng.integers(0, 50, rng.integers(4, 9)) for _ in range(9)]
        hypotheses = [np.where(rng.random(len(r)) < 0.25, 99, r) for r in references]
        words += sum(len(r) for r in references)
        strategy.run(decode, args=(references, hypotheses))
    return {"wer": float(errors.numpy()) / words}
