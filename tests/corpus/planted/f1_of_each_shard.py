"""Each replica computes an F1 score and a median of its own examples, and MEAN averages them.

Neither of them is a mean, so both depend on the number of replicas.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def f1_score(hits: float, wrong: float) -> float:
    return 2 * hits / (2 * hits + wrong)


def run(job: tf.Job) -> dict[str, float]:
    strategy = job.strategy
    with strategy.scope():
        f1 = tf.Variable(0.0, name="f1", synchronization=SYNC.ON_READ, aggregation=AGG.MEAN)
        rows = tf.Variable(0, name="rows", synchronization=SYNC.ON_READ, aggregation=AGG.SUM)
    rng = np.random.default_rng(11)

    def evaluate(truth: np.ndarray, scores: np.ndarray) -> float:
        context = tf.distribute.get_replica_context()
        me, n = context.replica_id_in_sync_group, strategy.num_replicas_in_sync
        true = np.array_split(truth, n)[me]
        score = np.array_split(scores, n)[me]
        found = score < 0.5
        hits, wrong = float((true & found).sum()), float((true ^ found).sum())
        # FAULT: unexplained difference: f1
        f1.assign(f1_score(hits, wrong))
        # REMEDY: total = context.all_reduce("SUM", np.float32([hits, wrong]))
        # REMEDY: f1.assign(f1_score(*total.tolist()))
        errors = np.abs(true - score)
        # FAULT: unexplained difference
        middle = context.all_reduce("MEAN", np.float32(np.median(errors)))
        # REMEDY: middle = np.float32(np.median(context.all_gather(errors, axis=0)))
        rows.assign_add(len(true))
        return float(3 * middle)

    worst, limit = 1.0, 0.0
    for _ in range(5):
        limits = strategy.run(evaluate, args=(rng.random(60) < 0.4, rng.random(60)))
        limit = max(limit, *strategy.experimental_local_results(limits))
        worst = min(worst, float(f1.read_value()))
    return {"worst": worst, "rows": int(rows.read_value()), "limit": limit}
