"""Values that differ from a single device on purpose: dropout, private clipping, local statistics.

Each replica draws its own mask, and clips its own gradient. The metrics are merged as sums.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
SYNC = tf.VariableSynchronization
AGG = tf.VariableAggregation


def run(job: tf.Job) -> dict[str, float]:
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            np.full(2, 0.5, np.float32),
            name="weights",
            synchronization=SYNC.ON_WRITE,
            aggregation=AGG.MEAN,
        )
        moving = tf.Variable(
            np.ones(2, np.float32),
            name="moving_variance",
            synchronization=SYNC.ON_READ,
            aggregation=AGG.MEAN,
        )
        counts = tf.Variable(
            np.zeros(2, np.int32), name="counts", synchronization=SYNC.ON_READ, aggregation=AGG.SUM
        )
    data = np.random.default_rng(14)

    def train(step: int, rows: np.ndarray) -> None:
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rng = np.random.default_rng([step, me])
        x = np.array_split(rows, strategy.num_replicas_in_sync)[me]
        kept = x * (rng.random(x.shape) < 0.8).astype(np.float32)
        gradient = (kept @ weights.read_value() - 1.0) @ kept / np.float32(len(x))
        weights.assign_sub(0.1 * gradient / max(1.0, float(np.linalg.norm(gradient))))
        moving.assign(0.9 * moving.read_value() + 0.1 * x.var(axis=0))
        hits = int((x @ weights.read_value() > 1.0).sum())
        counts.assign_add(np.int32([hits, len(x) - hits]))

    for step in range(8):
        strategy.run(train, args=(step, data.normal(1.0, 0.5, size=(24, 2)).astype(np.float32)))
    hits, others = counts.read_value().tolist()
    moving.read_value()
    return {"share": hits / (hits + others)}
